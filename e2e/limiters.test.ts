/** A part of `npm run e2e:limiters`: the attack is held to one budget, from however many addresses; the people are not. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { allowedOf, CASES, LIMITER_HEAD, LimiterScene, limiterLine, passedOf } from './limiter-scene.ts'

let scene: LimiterScene

before(async () => {
  scene = await LimiterScene.start()
})

after(async () => {
  await scene?.stop()
})

for (const one of CASES.filter(({ name }) => ['ip', 'ja4', 'http2', 'status'].includes(name))) {
  test(`by ${one.name}: the attack is stopped, 500 people behind one address are not`, { timeout: 60_000 }, async (t) => {
    const result = await scene.run(one, 1_200)
    t.diagnostic(LIMITER_HEAD)
    t.diagnostic(limiterLine(one, result))
    const { attack, people, alone } = result
    const good = people.answers['200'] ?? 0
    const shed = people.answers['503'] ?? 0
    // Whatever else this machine has to do, no limit meets the people.
    assert.equal(good + shed, people.asked, JSON.stringify(people.answers))
    if (attack.asked <= allowedOf(attack) || shed > 0) {
      t.skip(`this machine is too busy for more: ${attack.asked} attacks asked, ${shed} of the people shed`)
      return
    }
    assert.equal(alone.answers['200'], alone.asked)
    // A limit by status looks before and counts after: what is under way at once, 64 here, is not yet counted.
    assert.ok(passedOf(attack) <= allowedOf(attack) + (one.status === undefined ? 1 : 65), `${passedOf(attack)} passed`)
    assert.equal((attack.answers['429'] ?? 0) + passedOf(attack) + (attack.answers['503'] ?? 0), attack.asked)
  })
}
