/*
 * uuid: random identifiers (version 4), as text.
 */
#pragma once

#define UUID_TEXT 37

/* Into `text`, which is returned. */
char *uuid_print(char text[UUID_TEXT]);
