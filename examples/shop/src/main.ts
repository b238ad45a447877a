/** The program: `node main.ts --port 8090 [--host 127.0.0.1] [--data DIR]`. */
import { parseArgs } from 'node:util'
import { startShop } from './index.ts'

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '8090' },
    data: { type: 'string' },
  },
})

try {
  const { host, data } = values
  const shop = await startShop({ host, port: Number(values.port), ...(data === undefined ? {} : { data }) })
  process.stdout.write(`the shop listens on ${shop.url}\n`)
  const stop = async (): Promise<void> => {
    await shop.stop()
    process.exit(0)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
  // Whoever started it with a channel is gone.
  if (process.connected) process.once('disconnect', stop)
} catch (error) {
  process.stderr.write(`shop: ${(error as Error).message}\n`)
  process.exitCode = 1
}
