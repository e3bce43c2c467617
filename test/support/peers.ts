/** Finds the installed test peers; what is missing is a visible skip, and with CI=true a failure. */
import assert from 'node:assert/strict'
import { type PeerName, peerPath } from '../../scripts/peers.ts'

export type { PeerName } from '../../scripts/peers.ts'

interface Skippable {
  skip(message?: string): void
}

/** Where an installed peer is (see `peerPath`), or null. */
export function requirePeer(name: PeerName): string | null {
  return peerPath(name)
}

/**
 * True when the calling test should return at once because one of `names` is not installed. It
 * then has been marked as skipped, or, with CI=true, this has thrown.
 */
export function skipWithout(t: Skippable, ...names: readonly PeerName[]): boolean {
  const missing = names.filter((name) => requirePeer(name) === null)
  if (missing.length === 0) return false
  const how = `not installed: ${missing.join(', ')} (node dist/scripts/peers.js --install)`
  assert.notEqual(process.env['CI'], 'true', how)
  t.skip(how)
  return true
}

/** As `requirePeer`, for code that runs after `skipWithout` has returned false. */
export function peer(name: PeerName): string {
  const path = requirePeer(name)
  assert.ok(path, `${name} is not installed`)
  return path
}
