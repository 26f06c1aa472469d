"""What makes bash complete the command line (bash 4 or newer).

Not for: what there is to be completed (`grammar`).
"""

from __future__ import annotations

from peershare.client.grammar import NAMED, Command, Word, long_name, quoted

_BASH = r"""# bash completion of peershare, made by `peershare completion bash`

# Offers the lines that begin with what is typed, quoted as the shell needs them.
_peershare_offer() {
    local name
    while IFS= read -r name; do
        [[ $name == "$cur"* ]] || continue
        case $quote in
            \') [[ $name == *\'* ]] && continue ;;
            \") [[ $name == *[\"\$\`\\!]* ]] && continue ;;
            *) [[ $plain ]] || printf -v name %q "$name" ;;
        esac
        if [[ $before ]]; then
            [[ $name == "$before"* ]] || continue
            name=${name#"$before"}
        fi
        COMPREPLY+=("$name")
    done
}

_peershare_names() {
    _peershare_offer < <(command peershare complete "${where[@]}" -- "$1" "$cur" 2>/dev/null)
}

_peershare_words() {
    local plain=1
    _peershare_offer < <(printf '%s\n' "$@")
}

_peershare() {
    COMPREPLY=()
    # readline parts words at : and =, which belong to names here
    local -a words=() where=()
    local word glued='' i n=-1
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $n -gt 0 && $word && ( $word == [:=]* || $glued ) ]]; then
            words[n]+=$word
        else
            words[++n]=$word
        fi
        glued=
        [[ $word == *[:=] ]] && glued=1
    done
    local cur=${words[n]} prev=${words[n - 1]} quote='' plain='' before='' command=''
    case $cur in
        \'*) quote=\' cur=${cur#\'} ;;
        \"*) quote=\" cur=${cur#\"} ;;
        *)
            [[ $cur == *[:=]* ]] && before=${cur%"${cur##*[:=]}"}
            cur=${cur//\\/}
            ;;
    esac
    for ((i = 1; i < n; i++)); do
        case ${words[i]} in
            --state | --config) where+=("${words[i]}" "${words[i + 1]//\\/}") ;;
            --state=* | --config=*) where+=("${words[i]//\\/}") ;;
        esac
        case ${words[i]} in
            %(valued)s) ((i++)) ;;
            -*) ;;
            *) [[ $command ]] || command=${words[i]} ;;
        esac
    done
%(values)s
    case $command in
%(commands)s
    esac
}

complete -F _peershare peershare
"""


def bash_script(commands: tuple[Command, ...]) -> str:
    """The script for this grammar."""
    flags = {long_name(flag): flag for command in commands for flag in command.flags}
    valued = [flag for flag in flags.values() if flag.value is not None]
    values = ["    case $prev in"]
    for flag in valued:
        assert flag.value is not None
        values.append(f"        {long_name(flag)}) {_bash_word(flag.value)}return ;;")
    values.append("    esac")
    cases = [_bash_case(command, commands) for command in commands]
    return (
        _BASH.replace("%(valued)s", " | ".join(map(long_name, valued)))
        .replace("%(values)s", "\n".join(values))
        .replace("%(commands)s", "\n".join(cases))
    )


def _bash_case(command: Command, commands: tuple[Command, ...]) -> str:
    """What can follow a command: an option where a dash is typed, else what it is about."""
    words = _bash_word(command.words)
    if not command.name:
        words = f"_peershare_words {' '.join(other.name for other in commands[1:])}; "
    return (
        f"        {command.name or quoted(command.name)})\n"
        "            if [[ $cur == -* ]]; then\n"
        f"                _peershare_words {' '.join(map(long_name, command.flags))}\n"
        "            else\n"
        f"                {words.removesuffix('; ') or ':'}\n"
        "            fi\n"
        "            ;;"
    )


def _bash_word(word: Word | None) -> str:
    if word is None:
        return ""
    if word.choices:
        return f"_peershare_words {' '.join(word.choices)}; "
    if word.kind in NAMED:
        return f"_peershare_names {word.kind}; "
    more = {"files": "default", "folders": "dirnames"}.get(word.kind)
    return f"compopt -o {more} 2>/dev/null; " if more else ""
