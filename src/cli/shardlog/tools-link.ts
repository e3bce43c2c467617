/** `shardlog tools link DIR`: Apache's tool names as executables, where the user wants them. */
import { lstat, mkdir, readdir, readlink, symlink, unlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type ParsedOptions, UsageError } from '../kit/options.ts'
import { defineTool, ToolError, type ToolIo } from '../kit/tool.ts'

const BIN = join(import.meta.dirname, '..', '..', '..', '..', 'bin')

/** The executables of this package that have a name of Apache's. */
async function names(): Promise<string[]> {
  const all = await readdir(BIN)
  return all.filter((name) => name.startsWith('kafka-') || name.startsWith('zookeeper-')).sort()
}

async function link(directory: string, name: string): Promise<boolean> {
  const path = join(directory, name)
  const target = join(BIN, name)
  const known = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (known !== null) {
    const old = known.isSymbolicLink() ? await readlink(path) : null
    if (old === target) return false
    // One of ours from another place of this package may go; anything else is not ours to touch.
    if (old === null || !/[\\/]shardlog[\\/]bin[\\/]|[\\/]bin[\\/]kafka-/.test(old)) {
      throw new ToolError(`${path} is there already, and is not a link of shardlog`)
    }
    await unlink(path)
  }
  await symlink(target, path)
  return true
}

async function run(given: ParsedOptions, io: ToolIo): Promise<number> {
  const [action, directory, ...more] = given.positionals
  if (action !== 'link' || directory === undefined || more.length > 0) {
    throw new UsageError('link DIR is what there is')
  }
  const folder = resolve(directory)
  await mkdir(folder, { recursive: true })
  let made = 0
  const all = await names()
  for (const name of all) if (await link(folder, name)) made += 1
  io.print(`${made} links made, ${all.length - made} were there, in ${folder}`)
  return 0
}

export const shardlogTools = defineTool({
  name: 'shardlog tools',
  summary: "Puts links to Apache's tool names, with and without .sh, into a folder.",
  options: {},
  positionals: ['link', 'DIR'],
  notes: ['A file that is there already and is not a link of shardlog is left alone: that fails.'],
  run,
})
