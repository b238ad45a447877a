/** A WebSocket after its upgrade: two sockets, each copied to the other, with one idle limit. */
import type { Socket } from 'node:net'
import type { Context, Cuttable } from './context.ts'

const HALF_OPEN_MS_MAX = 2_000

export interface TunnelEnds {
  readonly client: Socket
  readonly upstream: Socket
  readonly source: string
  /** What either side had already said. */
  readonly fromClient: Buffer | undefined
  readonly fromUpstream: Buffer
}

export function openTunnel(context: Context, ends: TunnelEnds): void {
  const { client, upstream, source } = ends
  const { counters, limits, sources } = context
  const tunnel: Cuttable = { cut: () => client.destroy() }
  counters.activeTunnels++
  sources.add(source, tunnel)
  let open = true
  const close = (): void => {
    client.destroy()
    upstream.destroy()
    if (!open) return
    open = false
    counters.activeTunnels--
    sources.delete(source, tunnel)
  }
  // A socket's timer counts what it reads and what it writes, so the client's alone covers both directions.
  client.setTimeout(limits.tunnelIdleMsMax, close)
  // Half of a WebSocket is of no use: once one side has ended, the other has a moment to.
  const closeSoon = (): void => void setTimeout(close, HALF_OPEN_MS_MAX).unref()
  for (const socket of [client, upstream]) {
    socket.setNoDelay(true)
    socket.once('end', closeSoon)
    socket.on('error', close)
    socket.on('close', close)
  }
  if (ends.fromUpstream.length > 0) client.write(ends.fromUpstream)
  if (ends.fromClient !== undefined && ends.fromClient.length > 0) upstream.write(ends.fromClient)
  client.pipe(upstream)
  upstream.pipe(client)
}
