/** `npm run e2e:limiters`: every key of rate limits against an attack that has it in common. `--seconds` each, `--only NAME`. */
import { parseArgs } from 'node:util'
import { CASES, LIMITER_HEAD, LimiterScene, limiterLine, PEOPLE, PER_SECOND } from './limiter-scene.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '4' }, only: { type: 'string', default: '' } } })
const scene = await LimiterScene.start()
try {
  process.stdout.write(
    `${PER_SECOND} requests/s a key; the attack from 10,000 addresses unless the key is the address; ${PEOPLE} people behind one address\n${LIMITER_HEAD}\n`,
  )
  for (const one of CASES.filter(({ name }) => name.includes(values.only)))
    process.stdout.write(`${limiterLine(one, await scene.run(one, Number(values.seconds) * 1_000))}\n`)
} finally {
  await scene.stop()
}
