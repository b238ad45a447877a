import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { OtlpExporter } from './otlp-exporter.ts'
import { span } from './test-records.ts'

interface Received {
  readonly url: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: {
    readonly resourceSpans: readonly {
      readonly resource: { readonly attributes: readonly unknown[] }
      readonly scopeSpans: readonly { readonly spans: readonly Readonly<Record<string, unknown>>[] }[]
    }[]
  }
}

/** A collector that answers each request with the next status given, then 200. */
async function collector(statuses: readonly number[]) {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const bytes = Buffer.concat(chunks)
      const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes
      received.push({ url: request.url, headers: request.headers, body: JSON.parse(String(text)) as Received['body'] })
      response.statusCode = statuses[received.length - 1] ?? 200
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function exporterFor(endpoint: string) {
  const lines: string[] = []
  let lost = 0
  const exporter = new OtlpExporter({
    endpoint,
    headers: { authorization: 'Bearer s3cret' },
    resource: { 'service.name': 'ringwall' },
    log: (_level, line) => lines.push(line),
    onLost: (count) => {
      lost += count
    },
    retryPauseMs: 1,
  })
  return { exporter, lines, lost: () => lost }
}

test('spans arrive as OTLP JSON: hex ids, nanoseconds as text, numeric kinds, typed attributes', async () => {
  const { endpoint, received, close } = await collector([])
  const { exporter, lost } = exporterFor(`${endpoint}/`)
  exporter.push(span({ ok: false, parentSpanId: 'aaaaaaaaaaaaaaaa', attributes: { s: 'x', i: 3, d: 0.5, b: true } }))
  await exporter.stop(1_000)
  close()
  assert.equal(received.length, 1)
  assert.equal(received[0]!.url, '/v1/traces')
  assert.equal(received[0]!.headers.authorization, 'Bearer s3cret')
  const [resource] = received[0]!.body.resourceSpans
  assert.deepEqual(resource!.resource.attributes, [{ key: 'service.name', value: { stringValue: 'ringwall' } }])
  assert.deepEqual(resource!.scopeSpans[0]!.spans, [
    {
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      spanId: '00f067aa0ba902b7',
      parentSpanId: 'aaaaaaaaaaaaaaaa',
      name: 'GET shop',
      kind: 2,
      startTimeUnixNano: '1763700000000001000',
      endTimeUnixNano: '1763700000000500000',
      attributes: [
        { key: 's', value: { stringValue: 'x' } },
        { key: 'i', value: { intValue: '3' } },
        { key: 'd', value: { doubleValue: 0.5 } },
        { key: 'b', value: { boolValue: true } },
      ],
      status: { code: 2 },
    },
  ])
  assert.equal(lost(), 0)
})

test('a busy collector is tried again and nothing is lost', async () => {
  const { endpoint, received, close } = await collector([503, 429])
  const { exporter, lost } = exporterFor(endpoint)
  exporter.push(span())
  await exporter.stop(5_000)
  close()
  assert.equal(received.length, 3)
  assert.equal(lost(), 0)
})

test('a collector that refuses is not tried again; the loss is counted and logged once, without the credentials', async () => {
  const { endpoint, received, close } = await collector(Array(10).fill(401))
  const { exporter, lines, lost } = exporterFor(endpoint)
  for (let at = 0; at < 600; at++) exporter.push(span())
  await exporter.stop(5_000)
  close()
  assert.equal(received.length, 2)
  assert.equal(lost(), 600)
  assert.equal(lines.length, 1)
  assert.match(lines[0]!, /status 401/)
  assert.doesNotMatch(lines[0]!, /s3cret/)
})

test('with nobody listening the queue stays bounded and stopping ends in time', async () => {
  const { endpoint, close } = await collector([])
  close()
  const { exporter, lost } = exporterFor(endpoint)
  for (let at = 0; at < 10_000; at++) exporter.push(span())
  assert.equal(lost(), 10_000 - 8_192)
  await exporter.stop(50)
  assert.equal(lost(), 10_000)
})
