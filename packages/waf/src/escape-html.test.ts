import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { escapeHtml } from './escape-html.ts'
import { htmlEntityDecode } from './transformations/html-entity-decode.ts'

test('nothing of a text can end an element or a quoted attribute, and what a browser reads is the text', () => {
  const hostile = fc.oneof(fc.string(), fc.stringMatching(/^(?:[&<>"'#;]|amp|lt|39|script|\/){0,20}$/))
  fc.assert(
    fc.property(hostile, (text) => {
      const escaped = escapeHtml(text)
      assert.doesNotMatch(escaped, /[<>"']/)
      assert.equal(htmlEntityDecode(escaped), text)
    }),
  )
})

test('an attribute cannot be left', () => {
  assert.equal(
    escapeHtml(`"><img src=x onerror='alert(1)'>&amp;`),
    '&quot;&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;amp;',
  )
})
