/** `shardlog completion`: scripts that complete commands and their options in a shell. */
import { type ParsedOptions, UsageError } from '../kit/options.ts'
import { optionsOf } from '../kit/run-tool.ts'
import { defineTool, type ToolIo } from '../kit/tool.ts'
import { TOOLS } from '../tools.ts'
import { OWN_COMMANDS } from './commands.ts'

interface Completed {
  /** After `shardlog`, and as an executable of its own. */
  readonly names: readonly string[]
  readonly command: string
  readonly summary: string
  readonly options: readonly string[]
}

async function everything(): Promise<Completed[]> {
  const all: Completed[] = [
    {
      names: [],
      command: 'server',
      summary: 'Starts a broker.',
      options: ['--override', '--help', '--version'],
    },
  ]
  for (const entry of TOOLS) {
    const options = Object.keys(optionsOf(await entry.load())).map((name) => `--${name}`)
    const names = [entry.name, `${entry.name}.sh`]
    all.push({ names, command: entry.command, summary: entry.summary, options })
  }
  for (const { command, summary, load } of OWN_COMMANDS) {
    const options =
      command === 'completion'
        ? ['--help']
        : Object.keys(optionsOf(await load())).map((name) => `--${name}`)
    all.push({ names: [], command, summary, options })
  }
  return all
}

function bash(all: readonly Completed[]): string {
  const cases = all
    .map(({ command, names, options }) => {
      const patterns = [command, ...names].join('|')
      return `    ${patterns}) words='${options.join(' ')}' ;;`
    })
    .join('\n')
  const executables = all.flatMap(({ names }) => names)
  return `# bash completion for shardlog: eval "$(shardlog completion bash)"
_shardlog() {
  local current="\${COMP_WORDS[COMP_CWORD]}" command="\${COMP_WORDS[0]##*/}" words=''
  if [[ "$command" == shardlog ]]; then
    if (( COMP_CWORD == 1 )); then
      COMPREPLY=($(compgen -W '${all.map(({ command }) => command).join(' ')} help' -- "$current"))
      return
    fi
    command="\${COMP_WORDS[1]}"
  fi
  case "$command" in
${cases}
  esac
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}
complete -F _shardlog shardlog ${executables.join(' ')}
`
}

function zsh(all: readonly Completed[]): string {
  const commands = all
    .map(
      ({ command, summary }) =>
        `    '${command}:${summary.replaceAll("'", '').replaceAll(':', '')}'`,
    )
    .join('\n')
  const cases = all
    .map(({ command, options }) => `    ${command}) compadd -- ${options.join(' ')} ;;`)
    .join('\n')
  return `#compdef shardlog
# zsh completion for shardlog: eval "$(shardlog completion zsh)"
_shardlog() {
  local -a commands=(
${commands}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' commands
    return
  fi
  case "$words[2]" in
${cases}
  esac
  _files
}
compdef _shardlog shardlog
`
}

function fish(all: readonly Completed[]): string {
  const lines = ['# fish completion for shardlog: shardlog completion fish | source']
  for (const { command, summary, options } of all) {
    const text = summary.replaceAll("'", '')
    lines.push(`complete -c shardlog -n __fish_use_subcommand -a ${command} -d '${text}'`)
    for (const option of options) {
      lines.push(
        `complete -c shardlog -n '__fish_seen_subcommand_from ${command}' -l ${option.slice(2)}`,
      )
    }
  }
  return `${lines.join('\n')}\n`
}

const SHELLS = { bash, zsh, fish } as const

async function run(given: ParsedOptions, io: ToolIo): Promise<number> {
  const [shell, ...more] = given.positionals
  if (more.length > 0 || (shell !== 'bash' && shell !== 'zsh' && shell !== 'fish')) {
    throw new UsageError('the shell is bash, zsh or fish')
  }
  io.stdout.write(SHELLS[shell](await everything()))
  return 0
}

export const shardlogCompletion = defineTool({
  name: 'shardlog completion',
  summary: 'Prints the completion script for bash, zsh or fish.',
  options: {},
  positionals: ['SHELL'],
  notes: ['Example: eval "$(shardlog completion bash)"'],
  run,
})
