/**
 * A page with console sessions, run as it stands: each command in a shell, each printed line held
 * against what the page says. `<name>` on the page is whatever is printed there the first time, and
 * the same again from then on, in commands too; `<pid of leader>` is the `<pid of N>` of the broker
 * that `<leader>` is. Addresses and folders of the page are replaced by those of the test.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { until } from '../../support/until.ts'

export interface Step {
  readonly command: string
  /** Lines of both outputs, without blanks at their ends. */
  readonly expected: readonly string[]
}

/** The steps of all `console` blocks of a page. */
export function stepsOf(page: string): Step[] {
  const steps: { command: string; expected: string[] }[] = []
  for (const [, block = ''] of page.matchAll(/^```console\n([\s\S]*?)^```$/gm)) {
    for (const line of block.trimEnd().split('\n')) {
      if (line.startsWith('$ ')) steps.push({ command: line.slice(2), expected: [] })
      else steps.at(-1)?.expected.push(line.trimEnd())
    }
  }
  return steps
}

/** Values that change from line to line, and mean nothing later. */
const PASSING = new Set(['ms', 'n', 'process', 'program', 'file'])
const NAME = /<([a-z0-9]+(?: [a-z0-9]+)*)>/g

export class Tour {
  readonly values = new Map<string, string>()
  readonly #folder: string
  readonly #env: NodeJS.ProcessEnv

  constructor(options: { readonly folder: string; readonly env: NodeJS.ProcessEnv }) {
    this.#folder = options.folder
    this.#env = options.env
  }

  /** Runs a step; one that only looks is repeated until it sees what is expected. */
  async run({ command, expected }: Step): Promise<void> {
    const text = this.#fill(command)
    const looks = /--describe|kafka-list-topic|kafka-get-offsets|--list/.test(text)
    let printed: string[] = []
    let problem = ''
    const once = async (): Promise<boolean> => {
      printed = await this.#shell(text)
      problem = this.#compare(expected, printed)
      return problem === '' || !looks
    }
    const said = () => `${text}: ${problem}, printed:\n${printed.join('\n')}`
    await until(said, once, 60_000, 100)
    assert.equal(problem, '', said())
  }

  #valueOf(name: string): string | undefined {
    const [, what, whose] = /^(.+) of ([a-z].*)$/.exec(name) ?? []
    if (whose === undefined) return this.values.get(name)
    return this.values.get(`${what} of ${this.values.get(whose)}`)
  }

  #fill(text: string): string {
    return text.replaceAll(NAME, (_, name: string) => {
      const value = this.#valueOf(name)
      assert.ok(value, `nothing has said what <${name}> is, which ${text} wants`)
      return value
    })
  }

  async #shell(command: string): Promise<string[]> {
    const output = await new Promise<string>((settle) => {
      const options = { cwd: this.#folder, env: this.#env, timeout: 60_000 }
      execFile('bash', ['-c', `{ ${command}\n} 2>&1`], options, (error, stdout) => {
        settle(error === null ? stdout : `${stdout}\n[status ${error.code ?? error.signal}]`)
      })
    })
    return output === ''
      ? []
      : output
          .trimEnd()
          .split('\n')
          .map((line) => line.trimEnd())
  }

  /** What is not as expected, ''; and takes what the names stand for. */
  #compare(expected: readonly string[], printed: readonly string[]): string {
    const taken = new Map<string, string>()
    for (const [at, line] of expected.entries()) {
      if (!this.#matches(line, printed[at] ?? '', taken)) return `expected ${JSON.stringify(line)}`
    }
    const more = printed[expected.length]
    if (more !== undefined) return `did not expect ${JSON.stringify(more)}`
    for (const [name, value] of taken) this.values.set(name, value)
    return ''
  }

  #matches(expected: string, printed: string, taken: Map<string, string>): boolean {
    const names: string[] = []
    // A list of what is in sync is compared when the rest has said what the names stand for.
    const list = /(?<=\b[Ii]sr: )[^\t]+/
    const pattern = expected
      .replace(list, '<isr>')
      .split(NAME)
      .map((part, i) => {
        if (i % 2 === 0) return part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
        const known = taken.get(part) ?? this.#valueOf(part)
        if (known !== undefined && !PASSING.has(part) && part !== 'isr') {
          return known.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
        }
        const before = names.indexOf(part)
        if (before >= 0) return `\\${before + 1}`
        names.push(part)
        return part === 'isr' ? '([\\d,]*)' : '([^\\s,]+)'
      })
      .join('')
    const match = new RegExp(`^${pattern}$`).exec(printed)
    if (match === null) return false
    for (const [i, name] of names.entries()) taken.set(name, match[i + 1] as string)
    const wanted = list.exec(expected)?.[0]
    if (wanted === undefined) return true
    const ids = wanted.replaceAll(NAME, (_, name: string) => {
      return taken.get(name) ?? this.#valueOf(name) ?? name
    })
    const sorted = (text = ''): string => text.split(',').sort().join()
    return sorted(ids) === sorted(taken.get('isr'))
  }
}
