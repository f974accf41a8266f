/*
 * url: is a text a URL? What is wrong is said in the words of Go's net/url, which users of Flux know and look for.
 *
 * libcurl, which takes URLs apart for us, accepts more ("http://host/%zz") and says less.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

/*
 *  0  it is one; what it is for (its scheme, whether it has a host) is not looked at
 * -1  ERROR_INVALID, `parse "TEXT": REASON`. The text is shown without user and password, and no reason quotes them.
 */
int url_check(struct view text, struct error *err);
/* Appends the URL, whether it is one or not, without what stands before an '@' of its authority if a password is among it. */
void url_show(struct view text, struct buffer *shown);
