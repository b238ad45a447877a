/**
 * The people of a ring: names, groups, and what each may show to log in. Immutable.
 *
 * Nothing of it is a secret that logs anybody in. Of a passkey there is its public key; of a password the public half of a key pair that
 * follows from it (Argon2id, then Ed25519), so that whoever reads the state can guess at passwords but not log in, and every node can check a
 * login without seeing the password; of an invitation the public half of the key in its link.
 */
import { MerkleTrie } from './merkle-trie.ts'
import { portableSha256, type Sha256 } from './tx.ts'

export const PEOPLE_MAX = 10_000
/** Of one person. */
export const CREDENTIALS_MAX = 10

/** Argon2id (RFC 9106): as the node that took the password derived the key with. */
export interface PasswordCost {
  readonly lanes: number
  readonly memoryKiB: number
  readonly passes: number
}

/** What a person shows to log in. Keys and ids in base64url. */
export type PersonCredential =
  | {
      readonly kind: 'passkey'
      /** Of the credential (WebAuthn section 4). */
      readonly id: string
      /** SubjectPublicKeyInfo in DER: P-256, Ed25519 or RSA. */
      readonly publicKey: string
      /** The domain that it is for. */
      readonly rpId: string
    }
  | {
      readonly kind: 'password'
      readonly cost: PasswordCost
      /** Ed25519, raw. */
      readonly publicKey: string
      readonly salt: string
    }
  /** Somebody whom an outside provider of the policy names. */
  | {
      readonly kind: 'outside'
      readonly provider: string
      /** What it knows them by: `sub` of its ID tokens, or the NameID of its assertions. */
      readonly subject: string
    }

export interface PersonInvitation {
  /** Ed25519, raw, base64url: whoever has the link has the private half. */
  readonly key: string
  /** Unix milliseconds. */
  readonly untilMs: number
}

export interface Person {
  readonly credentials: readonly PersonCredential[]
  /** In order, none twice. */
  readonly groups: readonly string[]
  readonly invitation: PersonInvitation | null
  readonly name: string
  /** Unix milliseconds: logins of before are worth nothing. */
  readonly sinceMs: number
}

const nameKey = (name: string): string => portableSha256(new TextEncoder().encode(name))

/** With a blank, which no id of a passkey has. */
const outsideKey = (provider: string, subject: string): string => `${provider} ${subject}`

function keysOf({ credentials }: Person): readonly string[] {
  return credentials.flatMap((one) =>
    one.kind === 'passkey' ? [one.id] : one.kind === 'outside' ? [outsideKey(one.provider, one.subject)] : [],
  )
}

export class People {
  static readonly empty: People = new People(MerkleTrie.empty(), MerkleTrie.empty())
  readonly #people: MerkleTrie<Person>
  /** Names by what is one person's alone: ids of passkeys, and what outside providers call them. */
  readonly #known: MerkleTrie<string>

  private constructor(people: MerkleTrie<Person>, known: MerkleTrie<string>) {
    this.#people = people
    this.#known = known
  }

  /** From contents that are known to be well formed. */
  static from(contents: readonly Person[]): People {
    return contents.reduce((people, person) => people.with(person), People.empty)
  }

  get size(): number {
    return this.#people.size
  }

  get(name: string): Person | undefined {
    return this.#people.get(nameKey(name))
  }

  /** Whose passkey this is. */
  byPasskey(id: string): Person | undefined {
    return this.#knownBy(id)
  }

  /** Whom the provider means. */
  byOutside(provider: string, subject: string): Person | undefined {
    return this.#knownBy(outsideKey(provider, subject))
  }

  #knownBy(key: string): Person | undefined {
    const name = this.#known.get(nameKey(key))
    return name === undefined ? undefined : this.get(name)
  }

  /** In the order of their names. */
  list(): readonly Person[] {
    return [...this.#people.entries()].map(([, person]) => person).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Replaces the person of that name. */
  with(person: Person): People {
    const cleared = this.without(person.name)
    const known = keysOf(person).reduce((held, key) => held.set(nameKey(key), person.name), cleared.#known)
    return new People(cleared.#people.set(nameKey(person.name), person), known)
  }

  without(name: string): People {
    const person = this.get(name)
    if (person === undefined) return this
    const known = keysOf(person).reduce((held, key) => held.delete(nameKey(key)), this.#known)
    return new People(this.#people.delete(nameKey(name)), known)
  }

  root(hash?: Sha256): string {
    return this.#people.root(hash)
  }
}
