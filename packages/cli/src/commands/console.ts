/** The link that opens the console. The operator's context rides in the fragment, which browsers do not send. */
import { readFileSync } from 'node:fs'
import type { RingwallClient } from '@ringwall/client'
import { write } from '../output.ts'
import { findContext } from '../session.ts'

export async function consoleLink(client: RingwallClient, context: string | undefined): Promise<void> {
  const compact = JSON.stringify(JSON.parse(readFileSync(findContext(context), 'utf8')))
  process.stderr.write('the link holds the operator’s key: do not share it\n')
  write(`${client.baseUrl}/#login=${Buffer.from(compact).toString('base64url')}`)
}
