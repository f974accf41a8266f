#include "fights.h"

#include "base/clock.h"
#include "base/pool.h"

#include <stdbool.h>
#include <string.h>

struct fight {
        struct fight *next;
        char *object;   /* "": all that found no place */
        unsigned turns; /* taken in a row */
        bool drifted;
        int64_t due_ms, corrected_ms;
};

struct fights {
        struct fight *first;
        size_t count;
};

static void fight_free(struct fight *fight)
{
        pool_free(fight->object);
        pool_free(fight);
}

void fights_free(struct fights **fights)
{
        if (!*fights)
                return;
        while ((*fights)->first) {
                struct fight *fight = (*fights)->first;

                (*fights)->first = fight->next;
                fight_free(fight);
        }
        pool_free(*fights);
        *fights = NULL;
}

static void drop_calm(struct fights *fights, int64_t now_ms)
{
        struct fight **at = &fights->first;

        while (*at) {
                struct fight *fight = *at;

                if (fight->drifted || now_ms - fight->corrected_ms <= FIGHT_CALM_MS) {
                        at = &fight->next;
                        continue;
                }
                *at = fight->next;
                fights->count--;
                fight_free(fight);
        }
}

static struct fight *find(const struct fights *fights, const char *object)
{
        struct fight *fight = fights->first;

        while (fight && strcmp(fight->object, object) != 0)
                fight = fight->next;
        return fight;
}

static struct fight *get(struct fights *fights, const char *object)
{
        struct fight *fight = find(fights, object);

        if (!fight && fights->count >= FIGHTS_LIMIT)
                fight = find(fights, object = "");
        if (fight)
                return fight;
        fight = pool_allocate(sizeof(*fight));
        fight->object = pool_string(object);
        fight->next = fights->first;
        fights->first = fight;
        fights->count++;
        return fight;
}

static int64_t pause_of(const struct fight *fight, int64_t soon_ms)
{
        int64_t pause = FIGHT_PAUSE_FIRST_MS;

        if (fight->turns < FIGHT_PATIENCE)
                return soon_ms;
        for (unsigned turn = FIGHT_PATIENCE; turn < fight->turns && pause < FIGHT_PAUSE_LIMIT_MS; turn++)
                pause *= 2;
        return pause < FIGHT_PAUSE_LIMIT_MS ? pause : FIGHT_PAUSE_LIMIT_MS;
}

int64_t fights_drifted(struct fights **fights, const char *object, int64_t soon_ms, int64_t now_ms)
{
        struct fight *fight;

        if (!*fights)
                *fights = pool_allocate(sizeof(**fights));
        drop_calm(*fights, now_ms);
        fight = get(*fights, object);
        if (fight->drifted && now_ms < fight->due_ms)
                return fight->due_ms - now_ms;
        if (fight->drifted)
                fight->turns++; /* its turn has come, and whoever took it did not put it right */
        fight->drifted = true;
        fight->due_ms = now_ms + pause_of(fight, soon_ms);
        return fight->due_ms - now_ms;
}

void fights_corrected(struct fights *fights, struct buffer *lines, int64_t now_ms)
{
        for (struct fight *fight = fights ? fights->first : NULL; fight; fight = fight->next) {
                char pause[DURATION_TEXT];

                if (!fight->drifted)
                        continue;
                fight->drifted = false;
                fight->corrected_ms = now_ms;
                fight->turns++;
                if (fight->turns >= FIGHT_PATIENCE)
                        buffer_printf(lines, "%s%s: %s", lines->length ? "\n" : "", *fight->object ? fight->object : "others",
                                      duration_print(pause_of(fight, 0) * DURATION_MILLISECOND, pause));
        }
}
