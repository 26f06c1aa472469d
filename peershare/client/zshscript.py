"""What makes zsh complete the command line.

Not for: what there is to be completed (`grammar`).
"""

from __future__ import annotations

from collections.abc import Iterable

from peershare.client.grammar import NAMED, Command, Flag, Word, quoted

_ZSH = r"""#compdef peershare
# zsh completion of peershare, made by `peershare completion zsh`

_peershare_names() {
    local -a names where
    local -i i
    for ((i = 2; i < $#_peershare_line; i++)); do
        case $_peershare_line[i] in
            --state|--config) where+=($_peershare_line[i] ${(Q)_peershare_line[i+1]}) ;;
            --state=*|--config=*) where+=(${(Q)_peershare_line[i]}) ;;
        esac
    done
    names=(${(f)"$(command peershare complete $where -- $1 "${(Q)PREFIX}" 2>/dev/null)"})
    compadd -a names
}

_peershare() {
    local curcontext=$curcontext state line ret=1
    local -a _peershare_line=($words) commands
    typeset -A opt_args
    commands=(
%(commands)s
    )
    _arguments -C -s -A '-*' \
%(top)s
        '1: :->command' \
        '*:: :->rest' && ret=0
    case $state in
        command) _describe -t commands command commands && ret=0 ;;
        rest)
            curcontext=${curcontext%%:*}:peershare-$words[1]:
            case $words[1] in
%(cases)s
            esac
            ;;
    esac
    return ret
}

if [[ $funcstack[1] == _peershare ]]; then
    _peershare "$@"
else
    compdef _peershare peershare
fi
"""


def zsh_script(commands: tuple[Command, ...]) -> str:
    """The script for this grammar."""
    top, *others = commands
    described = [f"        {quoted(f'{_plain(c.name)}:{c.help}')}" for c in others]
    cases = []
    for command in others:
        specs = _zsh_flags(command.flags)
        if command.words is not None:
            many = "" if command.words.choices else "*"
            place = many or "1"
            specs.append(quoted(f"{place}:{command.words.metavar}:{_zsh_word(command.words)}"))
        lines = " \\\n".join(f"                        {spec}" for spec in specs)
        cases.append(
            f"                {command.name})\n"
            f"                    _arguments -s \\\n{lines} && ret=0\n"
            "                    ;;"
        )
    return (
        _ZSH.replace("%(commands)s", "\n".join(described))
        .replace("%(top)s", "\n".join(f"        {spec} \\" for spec in _zsh_flags(top.flags)))
        .replace("%(cases)s", "\n".join(cases))
    )


def _zsh_flags(flags: Iterable[Flag]) -> list[str]:
    specs = []
    for flag in flags:
        value = ""
        if flag.value is not None:
            value = f":{flag.value.metavar}:{_zsh_word(flag.value)}"
        for name in flag.names:
            equals = "=" if value and name.startswith("--") else ""
            specs.append(quoted(f"{name}{equals}[{_plain(flag.help)}]{value}"))
    return specs


def _zsh_word(word: Word) -> str:
    if word.choices:
        return f"({' '.join(word.choices)})"
    if word.kind in NAMED:
        return f" _peershare_names {word.kind}"  # the space: it is called as it stands
    return {"files": "_files", "folders": "_files -/"}.get(word.kind, " ")


def _plain(text: str) -> str:
    """A text in which nothing means anything to `_arguments`."""
    for character in "\\[]:":
        text = text.replace(character, f"\\{character}")
    return text
