/** Topics as the tools take them: a regular expression, or names and expressions with commas. */
import { UsageError } from './options.ts'

/** Whether a whole name fits; Java's expressions of this use are JavaScript's too. */
export function topicFilter(text: string): (name: string) => boolean {
  const pattern = text
    .trim()
    .replaceAll(',', '|')
    .replaceAll(' ', '')
    .replace(/^["']+|["']+$/g, '')
  let expression: RegExp
  try {
    expression = new RegExp(`^(?:${pattern})$`, 'u')
  } catch (error) {
    throw new UsageError(
      `${JSON.stringify(text)} is not a regular expression: ${(error as Error).message}`,
    )
  }
  return (name) => expression.test(name)
}
