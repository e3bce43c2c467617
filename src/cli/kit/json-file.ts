/** JSON files that tools read: lists of partitions, with clear words for what is wrong. */
import { readFileSync } from 'node:fs'
import type { TopicPartition } from '../../client/admin.ts'
import { ToolError } from './tool.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Reads a file whose top is an object with `version` 1, or none. Throws ToolError. */
export function readJsonFile(path: string): JsonObject {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ToolError(`cannot read ${path}: ${(error as Error).message}`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new ToolError(`${path} is not JSON: ${(error as Error).message}`)
  }
  const object = asObject(json, path)
  const version = object['version'] ?? 1
  if (version !== 1) throw new ToolError(`${path}: Not supported version field value ${version}`)
  return object
}

function asObject(json: unknown, where: string): JsonObject {
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as JsonObject
  throw new ToolError(`${where} is not a JSON object`)
}

/** The objects of a list. Throws ToolError. */
export function objectsOf(object: JsonObject, name: string, path: string): JsonObject[] {
  const list = object[name]
  if (!Array.isArray(list)) throw new ToolError(`${path} has no list "${name}"`)
  return list.map((item, at) => asObject(item, `${path}: ${name}[${at}]`))
}

/** Throws ToolError. */
export function stringField(object: JsonObject, name: string, path: string): string {
  const value = object[name]
  if (typeof value === 'string') return value
  throw new ToolError(`${path}: "${name}" is not a text in ${JSON.stringify(object)}`)
}

/** A whole number, at least `min`. Throws ToolError. */
export function integerField(object: JsonObject, name: string, path: string, min = 0): number {
  const value = object[name]
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) return value
  throw new ToolError(`${path}: "${name}" is no whole number in ${JSON.stringify(object)}`)
}

/** The `partitions` of a file with what else `read` finds; none may be there twice. */
export function partitionsOfFile<T>(
  path: string,
  read: (item: JsonObject) => T,
): (TopicPartition & T)[] {
  const items = objectsOf(readJsonFile(path), 'partitions', path).map((item) => ({
    topic: stringField(item, 'topic', path),
    partition: integerField(item, 'partition', path),
    ...read(item),
  }))
  const seen = new Set<string>()
  for (const { topic, partition } of items) {
    const name = `${topic}-${partition}`
    if (seen.has(name)) throw new ToolError(`${path} contains duplicate topic partitions: ${name}`)
    seen.add(name)
  }
  return items
}
