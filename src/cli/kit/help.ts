/** The text of `--help` and `--version`. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OptionSpec, OptionTable } from './options.ts'
import type { Tool } from './tool.ts'

const WIDTH = 100
const INDENT = 2
const COLUMN_MAX = 44

/** Words of a text in lines of at most `width` columns. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return line === '' ? lines : [...lines, line]
}

function left(name: string, spec: OptionSpec): string {
  const letter = spec.letter === undefined ? '' : `-${spec.letter}, `
  if (spec.argument === undefined) return `${letter}--${name}`
  const value = spec.argumentOptional ? `[${spec.argument}]` : `<${spec.argument}>`
  return `${letter}--${name} ${value}${spec.variadic ? '...' : ''}`
}

function right(spec: OptionSpec): string {
  const parts = [spec.required ? `Required. ${spec.help}` : spec.help]
  if (spec.repeatable) parts.push('May be repeated.')
  if (spec.default !== undefined) parts.push(`Default: ${spec.default}.`)
  if (spec.era !== undefined) parts.push(`(${spec.era})`)
  return parts.join(' ')
}

/** What `--help` prints: usage, every option, notes. */
export function helpOf(tool: Tool, table: OptionTable): string {
  const names = Object.keys(table)
  const positionals = (tool.positionals ?? []).map((name) => ` ${name}`).join('')
  const usage = wrap(`Usage: ${tool.name}${positionals} [options]`, WIDTH - INDENT)
  const lines = [tool.summary, '', usage.join(`\n${' '.repeat(INDENT)}`), '', 'Options:']
  const rows = names.map((name) => {
    const spec = table[name] as OptionSpec
    return [left(name, spec), right(spec)] as const
  })
  const column = Math.min(COLUMN_MAX, Math.max(...rows.map(([first]) => first.length))) + INDENT + 2
  for (const [first, text] of rows) {
    const [head = '', ...more] = wrap(text, WIDTH - column)
    const start = `${' '.repeat(INDENT)}${first}`
    if (start.length + 2 > column) lines.push(start, `${' '.repeat(column)}${head}`)
    else lines.push(`${start.padEnd(column)}${head}`)
    for (const line of more) lines.push(`${' '.repeat(column)}${line}`)
  }
  if (tool.notes !== undefined && tool.notes.length > 0) lines.push('', ...tool.notes)
  return `${lines.join('\n')}\n`
}

/** The version of this package. */
export function packageVersion(): string {
  const root = join(import.meta.dirname, '..', '..', '..', '..')
  const text = readFileSync(join(root, 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
