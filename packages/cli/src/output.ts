/** Lists and objects on stdout, in the form that was asked for. */
import { stringify } from 'yaml'
import { UsageError } from './errors.ts'
import { printable } from './format.ts'

export const FORMATS = ['table', 'wide', 'json', 'jsonl', 'yaml', 'name'] as const
export type Format = (typeof FORMATS)[number]

export function parseFormat(text: string): Format {
  const found = FORMATS.find((format) => format === text)
  if (found === undefined) throw new UsageError(`-o ${text}: expected one of ${FORMATS.join(', ')}`)
  return found
}

/** A column of a table. Numbers stand right. `wide` ones show with `-o wide` only. */
export interface Column<T> {
  readonly title: string
  readonly value: (row: T) => string | number
  readonly wide?: true
}

const ANSI = /\x1b\[[0-9;]*m/g

function widthOf(text: string): number {
  return [...text.replace(ANSI, '')].length
}

export function table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const cells = rows.map((row) => columns.map(({ value }) => value(row)))
  const texts = cells.map((line) => line.map((cell) => (typeof cell === 'number' ? String(cell) : cell)))
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...texts.map((line) => widthOf(line[i] as string))))
  const right = columns.map((_, i) => cells.length > 0 && cells.every((line) => typeof line[i] === 'number'))
  const pad = (text: string, i: number): string => {
    const fill = ' '.repeat((widths[i] as number) - widthOf(text))
    return right[i] ? fill + text : text + fill
  }
  return [columns.map(({ title }) => title), ...texts].map((line) => line.map(pad).join('  ').trimEnd()).join('\n')
}

/** Prints rows. `name` gives what other commands take. */
export function printList<T>(
  format: Format,
  rows: readonly T[],
  columns: readonly Column<T>[],
  name: (row: T) => string,
  none: string,
): void {
  if (format === 'json') write(JSON.stringify(rows, undefined, 2))
  else if (format === 'jsonl') for (const row of rows) write(JSON.stringify(row))
  else if (format === 'yaml') write(stringify(rows).trimEnd())
  else if (format === 'name') for (const row of rows) write(printable(name(row)))
  else if (rows.length === 0) process.stderr.write(`${none}\n`)
  else
    write(
      table(
        rows,
        columns.filter(({ wide }) => wide !== true || format === 'wide'),
      ),
    )
}

/** Prints one object: as a text for people, or as data. */
export function printOne<T>(format: Format, value: T, text: (value: T) => string, name: string): void {
  if (format === 'json') write(JSON.stringify(value, undefined, 2))
  else if (format === 'jsonl') write(JSON.stringify(value))
  else if (format === 'yaml') write(stringify(value).trimEnd())
  else if (format === 'name') write(printable(name))
  else write(text(value))
}

export function write(text: string): void {
  process.stdout.write(`${text}\n`)
}
