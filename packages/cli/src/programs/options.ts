/** What the verbs have in common: the session that they open, and options that several have. */
import type { RingwallClient } from '@ringwall/client'
import { type Command, Option } from 'commander'
import { UsageError } from '../errors.ts'
import { parseTtl } from '../format.ts'
import { FORMATS, type Format, parseFormat } from '../output.ts'

interface Globals {
  readonly context?: string
  readonly node?: string
  readonly output: Format
}

/** Opens a session and runs; with `--watch`, again and again. */
type Run = (client: RingwallClient, format: Format) => Promise<void>

const WATCH_MS = 1_000

export function withRing(command: Command, run: (args: readonly string[], options: Record<string, unknown>) => Run): Command {
  return command
    .addOption(
      new Option(
        '--context <file>',
        'the operator’s context; else $RINGWALL_CONTEXT, else .ringwall/operator.json here or above',
      ),
    )
    .addOption(new Option('--node <id>', 'ask this node: an id of the context, or a URL'))
    .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
    .action(async (...given: unknown[]) => {
      const options = given.at(-2) as Record<string, unknown> & Globals
      const args = given.slice(0, -2) as string[]
      const { openSession } = await import('../session.ts')
      const client = await openSession(options)
      const once = run(args, options)
      if (options.watch !== true) return once(client, options.output)
      for (;;) {
        if (process.stdout.isTTY === true) process.stdout.write('\x1b[H\x1b[2J')
        await once(client, options.output)
        await new Promise((wake) => setTimeout(wake, WATCH_MS))
      }
    })
}

export const watch = (): Option => new Option('-w, --watch', 'again every second')
export const reason = (): Option => new Option('--reason <text>', 'why, for the ledger').default('by hand')
export const dryRun = (): Option => new Option('--dry-run', 'say what would happen, and change nothing')

/** A whole number option. @throws {UsageError} */
export function whole(name: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^[0-9]{1,9}$/.test(text) || value < least || value > most)
      throw new UsageError(`${name} ${text}: expected a whole number from ${least} to ${most}`)
    return value
  }
}

export function collect(text: string, texts: readonly string[]): string[] {
  return [...texts, text]
}

export function collectIds(text: string, ids: readonly number[]): number[] {
  return [...ids, whole('--expect-rule', 1, 999_999_999)(text)]
}

export function revocation(options: Record<string, unknown>) {
  return {
    ttlMs: parseTtl(options.ttl as string),
    reason: options.reason as string,
    issuer: options.issuer as string | undefined,
    dryRun: options.dryRun === true,
  }
}

/** Of verbs that change the policy. */
export const changing = (command: Command): Command => command.option('-y, --yes', 'do not ask', false).addOption(dryRun())

export const nodesToAsk = (): Option =>
  new Option('--node <url>', 'a node’s admin API; may be given again').argParser(collect).default([])

export const contextFile = (): Option => new Option('--context <file>', 'the operator’s context')

export const formatted = (): Option =>
  new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat)
