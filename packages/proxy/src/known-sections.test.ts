import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KnownSections } from './known-sections.ts'

const LINE = 'GET / HTTP/1.1\r\n'
const head = (fields: string): Buffer => Buffer.from(`${LINE}${fields}\r\n`)

function learned(sections: KnownSections<readonly string[]>, bytes: Buffer, times: number): readonly string[] {
  const fields = [bytes.toString()]
  for (let time = 0; time < times; time += 1) sections.learn(bytes, LINE.length, bytes.length, fields)
  return fields
}

test('a section is known once it came twice, byte for byte and whole', () => {
  const sections = new KnownSections<readonly string[]>()
  const bytes = head('Host: a\r\nCookie: one\r\n')
  const find = (other: Buffer, to = other.length) => sections.find(other, LINE.length, to)?.said
  learned(sections, bytes, 1)
  assert.equal(find(bytes), undefined)
  const fields = learned(sections, bytes, 1)
  assert.equal(find(bytes), fields)
  assert.equal(find(Buffer.concat([bytes, Buffer.from('a body\r\n\r\n')])), fields)
  for (let at = LINE.length; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 0x20
    assert.equal(find(changed), undefined, `changed at ${at}`)
  }
  assert.equal(find(bytes, bytes.length - 1), undefined, 'its end has not come')
  assert.equal(find(head('Host: a\r\n')), undefined)
  assert.equal(find(head('')), undefined)
})

test('where it was found is where it is found again, and another says nothing there', () => {
  const sections = new KnownSections<readonly string[]>()
  const [one, other] = [head('Host: one\r\n'), head('Host: other\r\n')]
  const [ofOne, ofOther] = [learned(sections, one, 2), learned(sections, other, 2)]
  const { slot } = sections.find(one, LINE.length, one.length)!
  assert.equal(sections.find(one, LINE.length, one.length, slot)?.said, ofOne)
  assert.equal(sections.find(other, LINE.length, other.length, slot)?.said, ofOther)
  assert.equal(sections.find(one, LINE.length, one.length - 1, slot), undefined, 'its end has not come')
})

test('what is learned is a copy, and a section without fields is one', () => {
  const sections = new KnownSections<readonly string[]>()
  const bytes = head('')
  const fields = learned(sections, bytes, 2)
  bytes.fill(0)
  assert.equal(sections.find(head(''), LINE.length, LINE.length + 2)?.said, fields)
})

test('long sections are not kept', () => {
  const sections = new KnownSections<readonly string[]>()
  const bytes = head(`a: ${'x'.repeat(4_096)}\r\n`)
  learned(sections, bytes, 2)
  assert.equal(sections.find(bytes, LINE.length, bytes.length), undefined)
})
