/* Other forms of a word that is searched for: singular of a plural, other spellings of umlauts. */
#ifndef MESHFS_CATALOG_SEARCH_FORMS_H
#define MESHFS_CATALOG_SEARCH_FORMS_H

#include <stddef.h>

#define SEARCH_FORM_BYTES_MAX 160
#define SEARCH_FORMS_MAX 3

struct search_form {
	char text[SEARCH_FORM_BYTES_MAX]; /* matches what starts like it */
	size_t len;
};

/* The forms of a word of `len` bytes beside itself; returns how many.  A word that is short, or very long, has none. */
size_t search_forms(const char *word, size_t len, struct search_form ret[SEARCH_FORMS_MAX]);

#endif
