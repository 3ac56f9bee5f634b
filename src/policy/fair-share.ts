/**
 * How much of something bounded one of several may have: as in the engine (native/engine/fair_share.h), at most four times what is still free,
 * so that one that takes all it can get stops at four fifths and others find room. What is too small is not shared.
 */
const shareOfFree = 4;
const tooSmallToShare = 8;

/** Whether somebody who has `own` of `capacity`, of which `free` is left, may take `more`. */
export function mayTake(own: number, more: number, free: number, capacity: number): boolean {
  return more <= free && (capacity < tooSmallToShare || own <= shareOfFree * (free - more));
}
