export { type ShopOptions, startShop } from './server.ts'
