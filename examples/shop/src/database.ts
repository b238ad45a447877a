/** The shop's data, in an embedded SQLite database. Every value is a parameter, never part of a statement. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import type { Book } from './html.ts'

const derive = promisify(scrypt) as (password: string, salt: Buffer, bytes: number) => Promise<Buffer>
const KEY_BYTES = 32
const SESSION_MS = 12 * 3_600_000

const BOOKS: readonly (readonly [string, string, number])[] = [
  ['The Lighthouse Keeper’s Arithmetic', 'M. Vane', 1890],
  ["O'Brien's Guide to Rope", "S. O'Brien", 1450],
  ['SELECT poems FROM the union', 'Various', 1200],
  ['Rock & Roll, Salt & Pepper', 'D. Ardent', 1675],
  ['Drop Table: A Carpenter’s Memoir', 'H. Joiner', 2150],
  ['<Angle> Brackets of the North', 'I. Fell', 990],
  ['1 = 1 and Other Certainties', 'P. Axiom', 1325],
  ['The Cat /etc.', 'T. Whisker', 875],
  ['Or Else; a Thriller', 'R. Dash', 1099],
  ['Tea at Half Past 5 o’Clock', 'A. Steeper', 1340],
  ['A Short History of Fog', 'L. Mist', 1560],
  ['Signals for Small Harbours', 'K. Lantern', 2240],
  ['The Insert Key', 'B. Typer', 1180],
  ['Waves, Explained Twice', 'C. Swell', 1710],
  ['Union Street Cookbook', 'E. Ladle', 1930],
  ['Where the Cliffs Begin', 'N. Scarp', 1475],
  ['An Index of Gulls', 'J. Larus', 2080],
  ['The Null Island Letters', 'O. Zero', 1260],
  ['Knots That Hold', 'F. Hitch', 1395],
  ['Night Watch, With Notes', 'G. Lamp', 1640],
]

export interface User {
  readonly id: number
  readonly email: string
  readonly admin: boolean
}

export class Shop {
  readonly #db: DatabaseSync

  private constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      CREATE TABLE IF NOT EXISTS books (id INTEGER PRIMARY KEY, title TEXT NOT NULL, author TEXT NOT NULL, cents INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, salt BLOB NOT NULL, key BLOB NOT NULL, admin INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS sessions (token TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES users, until INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS reviews (id INTEGER PRIMARY KEY, book INTEGER NOT NULL REFERENCES books, text TEXT NOT NULL);
      CREATE TABLE IF NOT EXISTS carts (id INTEGER PRIMARY KEY, book INTEGER NOT NULL REFERENCES books, count INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS uploads (id INTEGER PRIMARY KEY, name TEXT NOT NULL, bytes INTEGER NOT NULL);
    `)
  }

  /** Opens, and fills a new database. Passwords of the two first users are written to `passwords.txt` beside it, for the owner alone. */
  static async open(directory: string | undefined): Promise<Shop> {
    if (directory !== undefined) mkdirSync(directory, { recursive: true, mode: 0o700 })
    const shop = new Shop(directory === undefined ? ':memory:' : join(directory, 'shop.db'))
    if (shop.books().length === 0) {
      const insert = shop.#db.prepare('INSERT INTO books (title, author, cents) VALUES (?, ?, ?)')
      for (const book of BOOKS) insert.run(...book)
    }
    for (const name of ['demo', 'admin']) {
      const email = `${name}@example.test`
      if (shop.#db.prepare('SELECT 1 FROM users WHERE email = ?').get(email) !== undefined) continue
      const password = randomBytes(9).toString('base64url')
      await shop.addUser(email, password, name === 'admin')
      if (directory !== undefined) {
        const file = join(directory, 'passwords.txt')
        if (!existsSync(file)) writeFileSync(file, '', { mode: 0o600 })
        chmodSync(file, 0o600)
        writeFileSync(file, `${email} ${password}\n`, { flag: 'a' })
      }
    }
    return shop
  }

  books(): readonly Book[] {
    return this.#db.prepare('SELECT id, title, author, cents FROM books ORDER BY id').all() as unknown as Book[]
  }

  search(text: string): readonly Book[] {
    const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`
    return this.#db
      .prepare("SELECT id, title, author, cents FROM books WHERE title LIKE ? ESCAPE '\\' ORDER BY id")
      .all(pattern) as unknown as Book[]
  }

  book(id: number): Book | undefined {
    return this.#db.prepare('SELECT id, title, author, cents FROM books WHERE id = ?').get(id) as Book | undefined
  }

  reviews(book: number): readonly string[] {
    return (
      this.#db.prepare('SELECT text FROM reviews WHERE book = ? ORDER BY id DESC LIMIT 50').all(book) as { text: string }[]
    ).map(({ text }) => text)
  }

  addReview(book: number, text: string): void {
    this.#db.prepare('INSERT INTO reviews (book, text) VALUES (?, ?)').run(book, text)
  }

  addToCart(book: number, count: number): number {
    return Number(this.#db.prepare('INSERT INTO carts (book, count) VALUES (?, ?)').run(book, count).lastInsertRowid)
  }

  addUpload(name: string, bytes: number): void {
    this.#db.prepare('INSERT INTO uploads (name, bytes) VALUES (?, ?)').run(name, bytes)
  }

  uploads(): readonly { readonly name: string; readonly bytes: number }[] {
    return this.#db.prepare('SELECT name, bytes FROM uploads ORDER BY id DESC LIMIT 100').all() as unknown as {
      name: string
      bytes: number
    }[]
  }

  users(): readonly User[] {
    return (
      this.#db.prepare('SELECT id, email, admin FROM users ORDER BY id').all() as { id: number; email: string; admin: number }[]
    ).map((row) => ({ ...row, admin: row.admin === 1 }))
  }

  /** False when there is such a user already. */
  async addUser(email: string, password: string, admin = false): Promise<boolean> {
    const salt = randomBytes(16)
    const key = await derive(password, salt, KEY_BYTES)
    const added = this.#db
      .prepare('INSERT OR IGNORE INTO users (email, salt, key, admin) VALUES (?, ?, ?, ?)')
      .run(email, salt, key, admin ? 1 : 0)
    return added.changes === 1
  }

  /** A session's token, or undefined. An unknown user takes as long as a wrong password. */
  async signIn(email: string, password: string): Promise<string | undefined> {
    const row = this.#db.prepare('SELECT id, salt, key FROM users WHERE email = ?').get(email) as
      | { id: number; salt: Uint8Array; key: Uint8Array }
      | undefined
    const key = await derive(password, Buffer.from(row?.salt ?? new Uint8Array(16)), KEY_BYTES)
    if (row === undefined || !timingSafeEqual(key, row.key)) return undefined
    const token = randomBytes(24).toString('base64url')
    this.#db.prepare('DELETE FROM sessions WHERE until < ?').run(Date.now())
    this.#db.prepare('INSERT INTO sessions (token, user, until) VALUES (?, ?, ?)').run(token, row.id, Date.now() + SESSION_MS)
    return token
  }

  userOf(token: string): User | undefined {
    const row = this.#db
      .prepare('SELECT users.id, email, admin FROM sessions JOIN users ON users.id = sessions.user WHERE token = ? AND until > ?')
      .get(token, Date.now()) as { id: number; email: string; admin: number } | undefined
    return row === undefined ? undefined : { id: row.id, email: row.email, admin: row.admin === 1 }
  }

  signOut(token: string): void {
    this.#db.prepare('DELETE FROM sessions WHERE token = ?').run(token)
  }

  close(): void {
    this.#db.close()
  }
}
