// A small client of the binary protocol, written from the specification: for tests that need to see frames, or many calls in flight.
import { WebSocket } from 'undici';

export const u8 = v => Buffer.from([v]);
export const u32 = v => { const b = Buffer.alloc(4); b.writeUInt32LE(v >>> 0); return b; };
export const u64 = v => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt.asUintN(64, BigInt(v))); return b; };
export const i64 = v => { const b = Buffer.alloc(8); b.writeBigInt64LE(BigInt(v)); return b; };
export const str = s => { const b = Buffer.from(s, 'utf8'); return Buffer.concat([u32(b.length), b]); };
export const bytes = b => Buffer.concat([u32(b.length), b]);

export class Wire {
  // `onMessage(tag, reader)` for everything that is not the answer of a call.
  constructor(port, database, { protocol = 'v2.bsatn.spacetimedb', token, confirmed = true } = {}) {
    const query = new URLSearchParams({ compression: 'None', confirmed: String(confirmed), ...(token ? { token } : {}) });
    this.pending = new Map();
    this.request = 0;
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/v1/database/${database}/subscribe?${query}`, [protocol]);
    this.socket.binaryType = 'arraybuffer';
    this.opened = new Promise((done, refused) => { this.socket.onopen = done; this.socket.onerror = e => refused(e.error ?? new Error('socket error')); });
    this.closed = new Promise(done => { this.socket.onclose = e => { this.gone = true; for (const p of this.pending.values()) p({ outcome: 'lost' }); this.pending.clear(); done(e); }; });
    this.socket.onmessage = event => this.#message(Buffer.from(event.data));
    this.opened.catch(() => {});
  }
  #message(frame) {
    if (frame[0] !== 0) throw new Error('compressed frame');
    const tag = frame[1];
    if (tag === 6) {
      const request = frame.readUInt32LE(2), outcome = frame[14];
      const text = outcome === 2 ? frame.subarray(23).toString() : outcome === 3 ? frame.subarray(19).toString() : '';
      this.pending.get(request)?.({ outcome: ['ok', 'ok', 'error', 'internal'][outcome], text });
      this.pending.delete(request);
    } else {
      this.onMessage?.(tag, frame.subarray(2));
    }
  }
  call(reducer, args) {
    if (this.gone) return Promise.resolve({ outcome: 'lost' });
    const request = this.request++;
    return new Promise(done => {
      this.pending.set(request, done);
      this.socket.send(Buffer.concat([u8(3), u32(request), u8(0), str(reducer), bytes(args)]));
    });
  }
  send(message) { this.socket.send(message); }
  close() { this.socket.close(); }
}
