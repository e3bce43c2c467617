/** What `npm pack` runs last: puts the add-on of this platform into the package. */
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const folder = join(root, 'prebuilds', `${process.platform}-${process.arch}`)
mkdirSync(folder, { recursive: true })
copyFileSync(join(root, 'build', 'Release', 'shardlog.node'), join(folder, 'shardlog.node'))
