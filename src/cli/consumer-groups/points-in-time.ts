/** Dates and durations as Apache's tools take them. */
import { UsageError } from '../kit/options.ts'

const DATE =
  /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,3}))?(Z|[+-]\d{2}(?::?\d{2})?)?$/

/** Milliseconds of `YYYY-MM-DDTHH:mm:SS.sss`, UTC unless a zone is given. Throws UsageError. */
export function parseDateTime(text: string): number {
  const match = DATE.exec(text.trim())
  const fraction = (match?.[7] ?? '0').padEnd(3, '0')
  const zone = match?.[8] ?? 'Z'
  const full = zone === 'Z' ? zone : `${zone.slice(0, 3)}:${zone.slice(3).replace(':', '') || '00'}`
  const base = match === null ? '' : (match[0].split(/[.Z]|[+-]\d{2}(?::?\d{2})?$/)[0] as string)
  const ms = Date.parse(`${base}.${fraction}${full}`)
  const utc = Date.parse(`${base}.${fraction}Z`)
  // Date.parse takes the 31st of February for the 3rd of March.
  const isReal = !Number.isNaN(utc) && new Date(utc).toISOString().startsWith(base)
  if (match === null || Number.isNaN(ms) || !isReal) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a point in time`,
      'write it as YYYY-MM-DDTHH:mm:SS.sss',
    )
  }
  return ms
}

const NUMBER = '([+-]?\\d+)'
const DURATION = new RegExp(
  `^([+-])?P(?:${NUMBER}D)?(T(?:${NUMBER}H)?(?:${NUMBER}M)?(?:([+-]?\\d+)(?:\\.(\\d{0,9}))?S)?)?$`,
  'i',
)

/** Milliseconds of `PnDTnHnMnS`. Throws UsageError. */
export function parseDuration(text: string): number {
  const match = DURATION.exec(text.trim())
  const [, sign, days, time, hours, minutes, seconds, fraction] = match ?? []
  const isEmpty = days === undefined && (time === undefined || time.length === 1)
  if (match === null || isEmpty || time?.toUpperCase() === 'T') {
    throw new UsageError(`${JSON.stringify(text)} is not a duration`, 'write it as PnDTnHnMnS')
  }
  const part = Number(`0.${fraction || '0'}`) * (seconds?.startsWith('-') ? -1 : 1)
  const total =
    Number(days ?? 0) * 86_400 +
    Number(hours ?? 0) * 3600 +
    Number(minutes ?? 0) * 60 +
    Number(seconds ?? 0) +
    part
  return Math.round(total * 1000) * (sign === '-' ? -1 : 1)
}
