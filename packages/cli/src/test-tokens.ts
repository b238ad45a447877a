/** Tokens of an issuer, and WebSockets that they open, for tests. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

const keys = { k1: generateKeyPairSync('ed25519'), k2: generateKeyPairSync('ed25519') }

export const ISSUER = 'https://id.example'
const AUDIENCE = 'app'

const jwk = (kid: keyof typeof keys) => ({ ...keys[kid].publicKey.export({ format: 'jwk' }), kid })

/** `issuers:` of a policy. */
export function issuerYaml(issuers: readonly string[] = [ISSUER]): string {
  const jwks = JSON.stringify({ keys: [jwk('k1'), jwk('k2')] })
  const lines = issuers.map(
    (issuer) => `  - { issuer: "${issuer}", audience: ${AUDIENCE}, algorithms: [EdDSA], jwks: ${jwks} }\n`,
  )
  return `issuers:\n${lines.join('')}`
}

/** Valid for ten minutes, issued ten seconds ago, unless the claims say otherwise. */
export function token(claims: object, kid: keyof typeof keys = 'k1'): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const nowS = Math.floor(Date.now() / 1_000)
  const all = { iss: ISSUER, aud: AUDIENCE, iat: nowS - 10, exp: nowS + 600, ...claims }
  const text = `${part({ alg: 'EdDSA', kid })}.${part(all)}`
  return `${text}.${sign(null, Buffer.from(text), keys[kid].privateKey).toString('base64url')}`
}

export const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` })

/** A WebSocket server (RFC 6455): answers the handshake, and every text of less than 126 bytes with the same text. */
export function webSocketEcho(request: IncomingMessage, socket: Duplex): void {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`,
  )
  socket.on('error', () => undefined)
  socket.on('data', (frame: Buffer) => {
    if ((frame[0]! & 0x0f) !== 1) return
    const length = frame[1]! & 0x7f
    const mask = frame.subarray(2, 6)
    const text = Buffer.from(frame.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]!))
    socket.write(Buffer.concat([Buffer.from([0x81, length]), text]))
  })
}

export interface OpenWebSocket {
  readonly socket: WebSocket
  readonly closed: Promise<void>
  isOpen(): boolean
}

/** At `/chat`, opened by this token, and seen to carry a message there and back. */
export async function openWebSocket(port: number, text: string, host = '127.0.0.1'): Promise<OpenWebSocket> {
  // Node's client takes header fields; the DOM's type does not know.
  const Client = WebSocket as unknown as new (url: string, options: object) => WebSocket
  const socket = new Client(`ws://${host}:${port}/chat`, { headers: bearer(text) })
  const closed = new Promise<void>((resolve) => socket.addEventListener('close', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('error', () => reject(new Error('the WebSocket did not open')))
    socket.addEventListener('open', () => socket.send('hello'))
    socket.addEventListener('message', ({ data }) => (data === 'hello' ? resolve() : reject(new Error(`got ${data}`))))
  })
  return { socket, closed, isOpen: () => socket.readyState === WebSocket.OPEN }
}
