/** A client's connection as the main thread knows it. */
import type { Frame } from './request-handler.ts'

export class Connection {
  /** Handle of the transport. */
  readonly id: number
  readonly listenerName: string
  readonly address: string
  /** From ApiVersions 3 on. */
  softwareName = ''
  softwareVersion = ''
  /** A request that later ones must wait for is in work. */
  busy = false
  readonly held: Frame[] = []
  /** One line in the log is enough for a connection that breaks the protocol. */
  complained = false
  closed = false
  /** Run when the connection closes; whoever adds one removes it when it is not needed any more. */
  readonly onClose = new Set<() => void>()

  constructor(id: number, listenerName: string, address: string) {
    this.id = id
    this.listenerName = listenerName
    this.address = address
  }

  describe(): { client: string; software: string } {
    return { client: this.address, software: `${this.softwareName} ${this.softwareVersion}`.trim() }
  }
}
