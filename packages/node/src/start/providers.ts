/** What outside providers of logins publish of themselves, and the way to them. */
import { type OutsideHttp, outsideHttp } from '../people/outside-http.ts'
import { ProviderKeys } from '../people/provider-keys.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'

export interface ProviderTrust {
  readonly http: OutsideHttp
  readonly keys: ProviderKeys
}

export function openProviders({ log }: Ground, { now }: Agreement): ProviderTrust {
  const http = outsideHttp()
  const keys = new ProviderKeys({ view: () => now.view, http, log: (line) => log('warn', line) })
  keys.warm()
  return { http, keys }
}
