"""``completion``: a script that teaches a shell to complete this client's command lines."""

from __future__ import annotations

from firkin.cli import errors, flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "SHELL",
    "Print the completion script of a shell (bash, fish or zsh)",
    (),
    flags.exactly(1),
    note="""To load it at every start of the shell:

  bash   firkin completion bash > ~/.local/share/bash-completion/completions/firkin
  fish   firkin completion fish > ~/.config/fish/completions/firkin.fish
  zsh    firkin completion zsh > "${fpath[1]}/_firkin\"""",
)

BASH = r"""# bash completion for firkin

_firkin() {
    local line current directive
    local -a words
    # COMP_WORDS is split at colons and equal signs; names such as image:tag are one word here.
    read -r -a words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ "${COMP_LINE:0:COMP_POINT}" == *[[:space:]] ]] && words+=("")
    current=${words[${#words[@]}-1]}
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :* ]]; then
            directive=${line#:}
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${words[0]}" __completeNoDesc "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 0 && $directive == 0 ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
        return
    fi
    # The shell replaces only what follows the last colon or equal sign.
    local cut=${current%"${current##*[:=]}"} at
    if [[ -n $cut && $COMP_WORDBREAKS == *:* ]]; then
        for at in "${!COMPREPLY[@]}"; do
            COMPREPLY[at]=${COMPREPLY[at]#"$cut"}
        done
    fi
}

complete -F _firkin firkin
"""

ZSH = r"""#compdef firkin
# zsh completion for firkin

_firkin() {
    local line name directive
    local -a found
    for line in "${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == :* ]]; then
            directive=${line#:}
        else
            name=${line%%$'\t'*}
            name=${name//:/\\:}
            if [[ $line == *$'\t'* ]]; then
                found+=("$name:${line#*$'\t'}")
            else
                found+=("$name")
            fi
        fi
    done
    if (( ${#found} )); then
        _describe 'firkin' found
    elif [[ $directive == 0 ]]; then
        _files
    fi
}

if [[ ${funcstack[1]} == _firkin ]]; then
    _firkin "$@"
else
    compdef _firkin firkin
fi
"""

FISH = r"""# fish completion for firkin

function __firkin_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    test (count $answer) -gt 0; or return
    if test (count $answer) -eq 1; and test "$answer[1]" = ":0"
        __fish_complete_path "$current"
        return
    end
    printf '%s\n' $answer[1..-2]
end

complete -c firkin -f -a '(__firkin_complete)'
"""

SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    script = SCRIPTS.get(args[0])
    if script is None:
        raise errors.CliError(
            f"no completion for the shell {flags.quoted(args[0])}: there is {', '.join(SCRIPTS)}"
        )
    cli.print(script.rstrip("\n"))
    return 0
