/** Options of this workspace's commands, `--name VALUE`. A wrong one ends the program with one line that says what was expected, and 2. */
import { basename } from 'node:path'
import { parseArgs } from 'node:util'

interface Kind<T> {
  readonly type: 'string' | 'boolean'
  /** @throws With what was expected. */
  read(given: string | boolean | undefined): T
}

/** A whole number. */
export function whole<Otherwise extends number | undefined>(
  otherwise: Otherwise,
  least = 1,
  most: number = 2 ** 32 - 1,
): Kind<number | Otherwise> {
  return {
    type: 'string',
    read: (given) => {
      if (given === undefined) return otherwise
      const value = Number(given)
      if (Number.isSafeInteger(value) && value >= least && value <= most) return value
      throw new Error(`expected a whole number from ${least} to ${most}`)
    },
  }
}

export function text<Otherwise extends string | undefined>(otherwise: Otherwise): Kind<string | Otherwise> {
  return { type: 'string', read: (given) => (typeof given === 'string' ? given : otherwise) }
}

/** One of these; the first without the option. */
export function oneOf<Name extends string>(names: readonly [Name, ...Name[]]): Kind<Name> {
  return {
    type: 'string',
    read: (given) => {
      const name = given === undefined ? names[0] : names.find((one) => one === given)
      if (name === undefined) throw new Error(`expected ${names.join(' or ')}`)
      return name
    },
  }
}

export function flag(): Kind<boolean> {
  return { type: 'boolean', read: (given) => given === true }
}

type Values<Kinds> = { readonly [name in keyof Kinds]: Kinds[name] extends Kind<infer T> ? T : never }

export function readOptions<Kinds extends Readonly<Record<string, Kind<unknown>>>>(kinds: Kinds): Values<Kinds> {
  return readArguments(kinds, false).options
}

/** As `readOptions`, with the words that are no options. */
export function readArguments<Kinds extends Readonly<Record<string, Kind<unknown>>>>(
  kinds: Kinds,
  allowPositionals = true,
): { readonly options: Values<Kinds>; readonly words: readonly string[] } {
  const given = (() => {
    try {
      const options = Object.fromEntries(Object.entries(kinds).map(([name, { type }]) => [name, { type }]))
      return parseArgs({ options, allowPositionals })
    } catch (error) {
      const names = Object.keys(kinds).map((name) => `--${name}`)
      return endUsage(`${(error as Error).message.split('. ')[0]}; there are ${names.join(', ')}`)
    }
  })()
  const read = Object.entries(kinds).map(([name, kind]) => {
    const value = given.values[name] as string | boolean | undefined
    try {
      return [name, kind.read(value)]
    } catch (error) {
      return endUsage(`--${name} ${value}: ${(error as Error).message}`)
    }
  })
  return { options: Object.fromEntries(read) as Values<Kinds>, words: given.positionals }
}

/** Ends the program: it was not asked for something that it does. */
export function endUsage(line: string): never {
  process.stderr.write(`${basename(process.argv[1] ?? '', '.ts')}: ${line}\n`)
  process.exit(2)
}
