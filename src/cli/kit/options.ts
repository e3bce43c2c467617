/**
 * Options as the tools of Apache Kafka take them (jopt-simple, and argparse4j where a tool has
 * positional arguments): `--name value`, `--name=value`, `-name value`, options that repeat, and
 * abbreviations as long as they fit one name only.
 */
import { nearestName } from './nearest-name.ts'

export interface OptionSpec {
  /** One sentence for `--help`. */
  readonly help: string
  /** What the value stands for, such as `topic`; an option without it is a switch. */
  readonly argument?: string
  /** `--state` and `--state Empty` are both right. */
  readonly argumentOptional?: true
  /** May be given again; without it a second one is an error. */
  readonly repeatable?: true
  /** Takes every word up to the next option: `--producer-props a=b c=d`. */
  readonly variadic?: true
  readonly required?: true
  /** Only told in `--help`; the tool itself applies it. */
  readonly default?: string
  /** A single letter: `-h`. */
  readonly letter?: string
  /** Not one of Apache's: never meant by an abbreviation, so that those keep their meaning. */
  readonly own?: true
  /** Taken so that old command lines keep working; the text says what it does now. */
  readonly era?: string
}

export type OptionTable = Readonly<Record<string, OptionSpec>>

/** A command line that cannot be meant; `hint` goes on the same line. */
export class UsageError extends Error {
  override readonly name = 'UsageError'

  constructor(message: string, hint?: string) {
    super(hint === undefined ? message : `${message}; ${hint}`)
  }
}

interface Given {
  readonly values: string[]
  times: number
}

/** What a command line says. `N` are the names of the tool's options. */
export class ParsedOptions<N extends string = string> {
  readonly positionals: readonly string[]
  /** The options in the order of the command line, with their values. */
  readonly sequence: readonly { readonly name: string; readonly value: string | undefined }[]
  readonly #given: ReadonlyMap<string, Given>

  constructor(
    given: ReadonlyMap<string, Given>,
    positionals: readonly string[],
    sequence: readonly { readonly name: string; readonly value: string | undefined }[] = [],
  ) {
    this.#given = given
    this.positionals = positionals
    this.sequence = sequence
  }

  has(name: N): boolean {
    return this.#given.has(name)
  }

  /** The value; undefined when the option is not given or is given without one. */
  value(name: N): string | undefined {
    return this.#given.get(name)?.values.at(-1)
  }

  /** All values of an option that repeats, in order. */
  values(name: N): readonly string[] {
    return this.#given.get(name)?.values ?? []
  }

  /** The value. Throws UsageError when it is not given. */
  required(name: N): string {
    const value = this.value(name)
    if (value === undefined) throw new UsageError(`--${name} is required`)
    return value
  }

  /** A whole number within bounds, or undefined. Throws UsageError. */
  integer(
    name: N,
    { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }: Partial<Bounds> = {},
  ): number | undefined {
    const text = this.value(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(value)) {
      throw new UsageError(`--${name} wants a whole number, not ${JSON.stringify(text)}`)
    }
    if (value < min || value > max) {
      const bounds = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `${min} to ${max}`
      throw new UsageError(`--${name} wants ${bounds}, not ${text}`)
    }
    return value
  }

  /** The names given, of those listed. */
  which<K extends N>(...names: readonly K[]): K[] {
    return names.filter((name) => this.has(name))
  }

  /** Throws UsageError when more than one of them is given. */
  atMostOne<K extends N>(...names: readonly K[]): K | undefined {
    const given = this.which(...names)
    if (given.length > 1) {
      throw new UsageError(`${given.map((name) => `--${name}`).join(' and ')} exclude each other`)
    }
    return given[0]
  }

  /** Throws UsageError unless exactly one of them is given. */
  exactlyOne<K extends N>(...names: readonly K[]): K {
    const one = this.atMostOne(...names)
    if (one === undefined) {
      throw new UsageError(`one of ${names.map((name) => `--${name}`).join(', ')} is required`)
    }
    return one
  }

  /** Throws UsageError when one of `others` is given beside `name`. */
  excludes(name: N, ...others: readonly N[]): void {
    if (!this.has(name)) return
    const [first] = this.which(...others)
    if (first !== undefined) throw new UsageError(`--${first} cannot be used with --${name}`)
  }
}

interface Bounds {
  readonly min: number
  readonly max: number
}

function resolve(table: OptionTable, text: string): string | null {
  if (Object.hasOwn(table, text)) return text
  if (text.length === 1) {
    const lettered = Object.keys(table).find((name) => table[name]?.letter === text)
    if (lettered !== undefined) return lettered
  }
  const fitting = Object.keys(table).filter(
    (name) => name.startsWith(text) && table[name]?.own === undefined,
  )
  return fitting.length === 1 ? (fitting[0] as string) : null
}

function unknown(table: OptionTable, text: string): UsageError {
  const fitting = Object.keys(table).filter((name) => name.startsWith(text))
  if (text !== '' && fitting.length > 1) {
    const names = fitting.map((name) => `--${name}`).join(', ')
    return new UsageError(`--${text} is ambiguous`, `it may be ${names}`)
  }
  const nearest = nearestName(text, Object.keys(table))
  return new UsageError(
    `unknown option --${text}`,
    nearest === null ? 'see --help' : `did you mean --${nearest}?`,
  )
}

function looksLikeOption(table: OptionTable, word: string): boolean {
  return word.startsWith('--') && resolve(table, word.slice(2).split('=')[0] as string) !== null
}

export interface ParseRules {
  /** Names of positional arguments, such as `topic`; a last one ending in `...` takes the rest. */
  readonly positionals?: readonly string[]
}

/** Reads a command line. Throws UsageError, one line. */
export function parseOptions<const T extends OptionTable>(
  table: T,
  words: readonly string[],
  rules: ParseRules = {},
): ParsedOptions<keyof T & string> {
  const given = new Map<string, Given>()
  const positionals: string[] = []
  const sequence: { name: string; value: string | undefined }[] = []
  let at = 0
  const take = (name: string, spec: OptionSpec, attached: string | undefined): void => {
    const entry = given.get(name) ?? { values: [], times: 0 }
    if (entry.times > 0 && spec.argument !== undefined && !spec.repeatable && !spec.variadic) {
      throw new UsageError(`--${name} is given twice`)
    }
    entry.times += 1
    given.set(name, entry)
    if (spec.argument === undefined) {
      if (attached !== undefined) throw new UsageError(`--${name} takes no value`)
      return
    }
    if (attached !== undefined) {
      entry.values.push(attached)
      return
    }
    const next = words[at]
    if (spec.argumentOptional) {
      if (next === undefined || next.startsWith('-')) return
    } else if (next === undefined || looksLikeOption(table, next)) {
      throw new UsageError(`--${name} requires a value (${spec.argument})`)
    }
    do {
      entry.values.push(words[at] as string)
      at += 1
    } while (spec.variadic && at < words.length && !(words[at] as string).startsWith('--'))
  }
  while (at < words.length) {
    const word = words[at] as string
    at += 1
    if (word === '--') {
      positionals.push(...words.slice(at))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      positionals.push(word)
      continue
    }
    const text = word.replace(/^--?/, '')
    const equals = text.indexOf('=')
    const key = equals === -1 ? text : text.slice(0, equals)
    const name = resolve(table, key)
    if (name === null) {
      if (/^-\d/.test(word)) {
        positionals.push(word)
        continue
      }
      throw unknown(table, key)
    }
    take(name, table[name] as OptionSpec, equals === -1 ? undefined : text.slice(equals + 1))
    sequence.push({ name, value: given.get(name)?.values.at(-1) })
  }
  checkPositionals(positionals, rules.positionals ?? [])
  return new ParsedOptions(given, positionals, sequence)
}

function checkPositionals(found: readonly string[], names: readonly string[]): void {
  if (names.at(-1)?.endsWith('...')) return
  const extra = found[names.length]
  if (extra !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(extra)}`)
}

/** Throws UsageError for the first option that is required and not given. */
export function checkRequired(table: OptionTable, options: ParsedOptions): void {
  const missing = Object.keys(table).find((name) => table[name]?.required && !options.has(name))
  if (missing !== undefined) throw new UsageError(`--${missing} is required`)
}
