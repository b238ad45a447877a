/** `npm run e2e:limiters`: every key of rate limits against an attack that has it in common. `--seconds` each, `--only NAME`. */
import { readOptions, text, whole } from '../tools/options.ts'
import { CASES, LIMITER_HEAD, LimiterScene, limiterLine, PEOPLE, PER_SECOND } from './limiter-scene.ts'

const { seconds, only } = readOptions({ seconds: whole(4, 1, 3_600), only: text('') })
const scene = await LimiterScene.start()
try {
  process.stdout.write(
    `${PER_SECOND} requests/s a key; the attack from 10,000 addresses unless the key is the address; ${PEOPLE} people behind one address\n${LIMITER_HEAD}\n`,
  )
  for (const one of CASES.filter(({ name }) => name.includes(only)))
    process.stdout.write(`${limiterLine(one, await scene.run(one, seconds * 1_000))}\n`)
} finally {
  await scene.stop()
}
