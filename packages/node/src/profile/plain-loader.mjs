// What an edge gives its threads by --import: TypeScript is loaded as the plain JavaScript that plain-code.ts made of it at this start. JavaScript,
// since what strips types is what must not be loaded.
import { createHash, hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const { RINGWALL_PLAIN: folder, RINGWALL_PLAIN_INDEX: index } = process.env

/** SHA-256 of plain files, by their names; empty when the index is not the one of this start. */
function readIndex() {
  try {
    const list = readFileSync(join(folder, index), 'latin1')
    if (hash('sha256', list) !== index) return new Map()
    return new Map(list.split('\n').map((line) => line.split(' ')))
  } catch {
    return new Map()
  }
}

const digests = folder === undefined || index === undefined ? new Map() : readIndex()

/** Undefined: the engine strips it by itself. */
function plainOf(source) {
  const name = createHash('sha256').update(process.version).update(source).digest('hex')
  const digest = digests.get(name)
  if (digest === undefined) return undefined
  try {
    const text = readFileSync(join(folder, `${name}.js`), 'latin1')
    return hash('sha256', text) === digest ? text : undefined
  } catch {
    return undefined
  }
}

if (digests.size > 0)
  registerHooks({
    load(url, context, next) {
      if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context)
      const source = plainOf(readFileSync(fileURLToPath(url), 'utf8'))
      return source === undefined ? next(url, context) : { format: 'module', source, shortCircuit: true }
    },
  })
