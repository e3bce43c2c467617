/** The code of an operating-system error (`ENOENT`), or its class name if it is no such error. */
export function errorCode(error: unknown): string {
  if (error instanceof Error) {
    const code = (error as NodeJS.ErrnoException).code
    return code ?? error.name
  }
  return String(error)
}
