/** `kafka-broker-api-versions`: which versions of which APIs brokers serve. */
import { API_NAMES } from './api-names.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG } from './kit/connection.ts'
import { defineTool } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

interface ServedApi {
  readonly key: number
  /** Null: Kafka 3.9 does not know it. */
  readonly name: string | null
  /** Null: the broker does not serve it. */
  readonly range: readonly [number, number] | null
  readonly usable: number | null
}

/** Every API that the broker serves or Kafka 3.9 knows, by key. */
export function servedApis(versions: ReadonlyMap<number, readonly [number, number]>): ServedApi[] {
  const known = new Map(API_NAMES.map(([key, name, versionMax]) => [key, { name, versionMax }]))
  const keys = [...new Set([...known.keys(), ...versions.keys()])].sort((a, b) => a - b)
  return keys.map((key) => {
    const api = known.get(key)
    const range = versions.get(key) ?? null
    const usable =
      api === undefined || range === null || range[0] > api.versionMax
        ? null
        : Math.min(api.versionMax, range[1])
    return { key, name: api?.name ?? null, range, usable }
  })
}

function textOf({ key, name, range, usable }: ServedApi): string {
  const title = `${name ?? 'UNKNOWN'}(${key}): `
  if (range === null) return `${title}UNSUPPORTED`
  const [min, max] = range
  const versions = min === max ? `${min}` : `${min} to ${max}`
  if (name === null) return `${title}${versions}`
  const note = usable === null ? 'unusable: node too new' : `usable: ${usable}`
  return `${title}${versions} [${note}]`
}

export const kafkaBrokerApiVersions = defineTool({
  name: 'kafka-broker-api-versions',
  summary: 'Prints which versions of which APIs the brokers serve.',
  options: {
    'bootstrap-server': { ...BOOTSTRAP_SERVER, required: true },
    'command-config': COMMAND_CONFIG,
  },
  table: true,
  wantsArguments: true,
  notes: [
    '"usable" is the highest version that both the broker and a client of Kafka 3.9 know.',
    'The exit status is 1 when a broker cannot be asked.',
  ],
  async run(given, io) {
    const contact = {
      bootstrapServers: given.required('bootstrap-server'),
      configFile: given.value('command-config'),
    }
    return await withAdmin(contact, io, async (admin) => {
      const brokers = await admin.apiVersions()
      if (io.json) {
        io.print(
          JSON.stringify(
            brokers.map(({ brokerId, host, port, rack, apiVersions, error }) => ({
              ...{ brokerId, host, port, rack },
              error: error?.message ?? null,
              apis: apiVersions === null ? null : servedApis(apiVersions),
            })),
          ),
        )
      } else {
        for (const { brokerId, host, port, rack, apiVersions, error } of brokers) {
          const node = `${host}:${port} (id: ${brokerId} rack: ${rack})`
          if (apiVersions === null) io.print(`${node} -> ERROR: ${error?.message}`)
          else io.print(`${node} -> (\n\t${servedApis(apiVersions).map(textOf).join(',\n\t')}\n)`)
        }
      }
      return brokers.some(({ error }) => error !== null) ? 1 : 0
    })
  },
})
