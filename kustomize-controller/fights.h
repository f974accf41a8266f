/*
 * fights: how long to wait before an object is put right that somebody else changes or deletes again and again.
 *
 * Each object of an owner counts by itself, so that what others do to one slows nothing else down. Its first FIGHT_PATIENCE corrections come at
 * once, as long as each drift follows the correction before it within FIGHT_CALM_MS; those after them wait, twice as long each time, up to
 * FIGHT_PAUSE_LIMIT_MS. A run that comes for another reason puts it right too. An object that was left alone for FIGHT_CALM_MS starts anew.
 *
 * Of more than FIGHTS_LIMIT objects that drift at a time the others count as one. Not for several threads at once; times are those of one clock, in
 * milliseconds.
 */
#pragma once

#include "base/str.h"

#include <stdint.h>

#define FIGHT_PATIENCE       10
#define FIGHT_PAUSE_FIRST_MS 5000
#define FIGHT_PAUSE_LIMIT_MS 300000
#define FIGHT_CALM_MS        60000
#define FIGHTS_LIMIT         1000

struct fights;

/* An object drifted: how long to wait before it is put right, `soon_ms` if nobody fights. *fights is NULL before the first. */
int64_t fights_drifted(struct fights **fights, const char *object, int64_t soon_ms, int64_t now_ms);
/*
 * A run has put right all that drifted. Adds a line to `lines` (it stays within its limit) for each object whose next correction will wait: how
 * long. NULL is fine.
 */
void fights_corrected(struct fights *fights, struct buffer *lines, int64_t now_ms);
void fights_free(struct fights **fights); /* for cleanup; NULL is fine */
