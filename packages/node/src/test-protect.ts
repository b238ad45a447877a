/** For tests: an application of one sentence, and how `ringwall protect` is started when nothing else is said. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import type { ProtectOptions } from './protect.ts'

/** Its URL; it ends with the test. */
export async function application(t: TestContext, says: string | RequestListener): Promise<string> {
  const server = createServer(typeof says === 'string' ? (_, response) => response.end(says) : says)
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export const protectOptions = (data: string, url: string, port: number, more: Partial<ProtectOptions> = {}): ProtectOptions => ({
  url,
  listen: `127.0.0.1:${port}`,
  rules: ['base'],
  paranoia: 1,
  mode: 'enforce',
  explainHeader: false,
  config: undefined,
  data,
  admin: undefined,
  ...more,
})
