/** What a handler knows of the request besides its message. */

export interface ClientSoftware {
  readonly name: string
  readonly version: string
}

export interface RequestContext {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
  /** IP address of the peer. */
  readonly clientAddress: string
  /** The listener the request came in on. */
  readonly listenerName: string
  /** What the client called itself in ApiVersions 3 or later. */
  clientSoftware: ClientSoftware | null
}
