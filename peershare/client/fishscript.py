"""What makes fish complete the command line.

Not for: what there is to be completed (`grammar`).
"""

from __future__ import annotations

from peershare.client.grammar import NAMED, Command, Word

_FISH = r"""# fish completion of peershare, made by `peershare completion fish`

function __peershare_names
    set -l where
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        switch $words[$i]
            case --state --config
                set -a where $words[$i] $words[(math $i + 1)]
            case '--state=*' '--config=*'
                set -a where $words[$i]
        end
    end
    command peershare complete $where -- $argv[1] (string unescape -- (commandline -ct)) 2>/dev/null
end

complete -c peershare -f
"""


def fish_script(commands: tuple[Command, ...]) -> str:
    """The script for this grammar."""
    lines = []
    for command in commands:
        when = "__fish_use_subcommand"
        if command.name:
            lines.append(
                f"complete -c peershare -n {when} -a {command.name} -d {_fish_quoted(command.help)}"
            )
            when = f"'__fish_seen_subcommand_from {command.name}'"
        if command.words is not None:
            lines.append(f"complete -c peershare -n {when}{_fish_word(command.words)}")
        for flag in command.flags:
            names = "".join(
                f" -l {name[2:]}" if name.startswith("--") else f" -s {name[1:]}"
                for name in flag.names
            )
            value = "" if flag.value is None else f" {_takes(flag.value)}{_fish_word(flag.value)}"
            text = _fish_quoted(flag.help)
            lines.append(f"complete -c peershare -n {when}{names}{value} -d {text}")
    return _FISH + "\n".join(lines) + "\n"


def _takes(word: Word) -> str:
    """Whether files come beside what is offered."""
    return "-r" if word.kind == "files" else "-x"


def _fish_word(word: Word) -> str:
    if word.choices:
        return f" -a {_fish_quoted(' '.join(word.choices))}"
    if word.kind in NAMED:
        return f" -a '(__peershare_names {word.kind})'"
    return {"files": " -F", "folders": " -a '(__fish_complete_directories)'"}.get(word.kind, "")


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
