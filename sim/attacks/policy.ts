/** What the simulated ring has in force. */
import { CRAWLER_PREFIX, PROBE_PREFIX } from './people.ts'

export const POLICY = `version: 1
services:
  shop:
    hosts: [shop.example]
    upstreams:
      - url: http://127.0.0.1:9
    waf: { mode: off, rules: [] }
    routes:
      - { name: login, path: /login, login: { account: email } }
      - { name: signup, path: /signup, signup: { account: email } }
      - { name: reset, path: /reset }
      - { name: password, path: /account/password }
      - { name: email, path: /account/email }
      - { name: account, path: /account }
      - { name: orders, path: /orders }
      - { name: products, path: /products }
      - { name: assets, path: /assets }
      - { name: export, path: /api/export }
      - { name: coupon, path: /coupon }
bots:
  monitoring: { userAgent: probe, prefixes: [${PROBE_PREFIX}] }
  engines: { userAgent: engine, prefixes: [${CRAWLER_PREFIX}] }
detectors:
  failedLogins: {}
  slowLogins: {}
  standard: enforce
  anomalies: { mode: observe }
  rules:
    - name: enumeration
      attack: [T1589.002]
      mode: enforce
      by: [source]
      when: { routes: [reset], status: [404] }
      over: { events: 15 }
      share: 0.5
      within: 1h
      denyFor: 1h
      reason: asks for the passwords of names that are nobody's
    - name: coupons
      attack: [T1110]
      mode: enforce
      by: [source]
      when: { routes: [coupon], status: [422] }
      over: { events: 40 }
      share: 0.6
      within: 1h
      denyFor: 1h
      reason: guesses coupons
    - name: takeover
      attack: [T1078, T1098]
      by: [source, fingerprint]
      after: { when: { login: good, device: new }, within: 1h }
      when: { routes: [password, email], methods: [POST] }
      over: { routes: 2 }
      within: 1h
      reason: logged in from a machine never seen with the account, then changed its password and its address
`

/** The same, where rules deny nobody: neither in the place of what else would be seen, nor before it is. */
export function observing(policy: string): string {
  return policy.replaceAll(/(standard|mode): enforce/g, '$1: observe').replace('  failedLogins: {}\n  slowLogins: {}\n', '')
}
