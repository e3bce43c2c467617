/** `zookeeper.connect`: `host:port,host:port/chroot`. */
import { RegistryError } from '../cluster-registry.ts'
import type { ServerAddress } from './client.ts'

const DEFAULT_PORT = 2181
const HOST_PATTERN = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s[\]:/,]+))(?::(\d{1,5}))?$/

export interface ConnectString {
  readonly servers: readonly ServerAddress[]
  /** A path without a slash at its end; '' is the root. */
  readonly chroot: string
}

/** Throws a RegistryError of kind `invalid` that names what is wrong. */
export function parseConnectString(text: string): ConnectString {
  const slash = text.indexOf('/')
  const list = slash < 0 ? text : text.slice(0, slash)
  const chroot = slash < 0 ? '' : text.slice(slash).replace(/\/+$/, '')
  const isClean = chroot.split('/').every((step, i) => (i === 0) === (step === '') && !isDots(step))
  if (chroot !== '' && !isClean) throw invalid(`${chroot} is not a path`)
  const servers = list.split(',').map((server) => parseServer(server.trim()))
  return { servers, chroot }
}

function isDots(step: string): boolean {
  return step === '.' || step === '..'
}

function parseServer(text: string): ServerAddress {
  const match = HOST_PATTERN.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = Number(match?.[3] ?? DEFAULT_PORT)
  if (host === undefined || port < 1 || port > 65535) {
    throw invalid(`${JSON.stringify(text)} is not host:port`)
  }
  return { host, port }
}

function invalid(what: string): RegistryError {
  return new RegistryError('invalid', `zookeeper.connect: ${what}`)
}

/** As people write it. */
export function serverText({ host, port }: ServerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
