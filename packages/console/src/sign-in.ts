/** Who is signed in: the operator's key, imported so that it cannot be read again, kept in this browser's IndexedDB. */
import { importOperatorKey, type OperatorCredentials, parseContext } from '@ringwall/client'

const DATABASE = 'ringwall'
const STORE = 'operator'
const KEY = 'current'

function open(): Promise<IDBDatabase> {
  return new Promise((settle, refuse) => {
    const request = indexedDB.open(DATABASE, 1)
    request.onupgradeneeded = () => request.result.createObjectStore(STORE)
    request.onsuccess = () => settle(request.result)
    request.onerror = () => refuse(request.error)
  })
}

async function withStore<T>(mode: IDBTransactionMode, run: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open()
  try {
    return await new Promise((settle, refuse) => {
      const request = run(database.transaction(STORE, mode).objectStore(STORE))
      request.onsuccess = () => settle(request.result)
      request.onerror = () => refuse(request.error)
    })
  } finally {
    database.close()
  }
}

export function storedOperator(): Promise<OperatorCredentials | undefined> {
  return withStore('readonly', (store) => store.get(KEY)) as Promise<OperatorCredentials | undefined>
}

/** @throws {ContextInvalid} When the text is no operator's context. */
export async function signIn(text: string): Promise<OperatorCredentials> {
  const { ring, name, privateKey } = parseContext(text)
  const key = 'd' in privateKey ? await importOperatorKey(privateKey) : privateKey
  const credentials = { ring, name, privateKey: key }
  await withStore('readwrite', (store) => store.put(credentials, KEY))
  return credentials
}

export async function signOut(): Promise<void> {
  await withStore('readwrite', (store) => store.delete(KEY))
}

/** The context from the link of `ringwall console`, taken out of the address bar at once. */
export function contextFromLink(): string | undefined {
  const match = /^#login=([A-Za-z0-9_-]+)$/.exec(location.hash)
  if (match === null) return undefined
  history.replaceState(null, '', location.pathname)
  try {
    return new TextDecoder().decode(
      Uint8Array.from(atob((match[1] as string).replace(/-/g, '+').replace(/_/g, '/')), (character) => character.charCodeAt(0)),
    )
  } catch {
    return undefined
  }
}
