/** Completion scripts, made from the tree of commands, so that they cannot fall behind it. */
import type { Command } from 'commander'
import { UsageError } from './errors.ts'

interface Entry {
  /** Words so far, e.g. `deny add`. */
  readonly path: string
  readonly words: readonly string[]
}

function entries(command: Command, path: readonly string[] = []): readonly Entry[] {
  const options = command.options
    .flatMap(({ long, short }) => [long, short])
    .filter((word) => word !== undefined && word !== null)
  const words = [...command.commands.map((child) => child.name()), ...(options as string[]), '--help']
  return [{ path: path.join(' '), words }, ...command.commands.flatMap((child) => entries(child, [...path, child.name()]))]
}

/** @throws {UsageError} */
export function completion(program: Command, shell: string): string {
  const all = entries(program)
  if (shell === 'bash') return bash(all)
  if (shell === 'zsh') return `#compdef ringwall\nautoload -U +X bashcompinit && bashcompinit\n${bash(all)}`
  if (shell === 'fish') return fish(all)
  throw new UsageError(`no completion for ${shell}; expected bash, zsh or fish`)
}

function bash(all: readonly Entry[]): string {
  const cases = all.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`)
  return `_ringwall() {
  local path='' words='' word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _ringwall ringwall
`
}

function fish(all: readonly Entry[]): string {
  const lines = all.flatMap(({ path, words }) => {
    const condition = path === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${path.split(' ').at(-1)}`
    return words.map((word) =>
      word.startsWith('--')
        ? `complete -c ringwall -n '${condition}' -l '${word.slice(2)}'`
        : word.startsWith('-')
          ? `complete -c ringwall -n '${condition}' -s '${word.slice(1)}'`
          : `complete -c ringwall -f -n '${condition}' -a '${word}'`,
    )
  })
  return `${lines.join('\n')}\n`
}
