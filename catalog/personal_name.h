/* What the name of a column says of personal data in it.  Pure functions. */
#ifndef MESHFS_CATALOG_PERSONAL_NAME_H
#define MESHFS_CATALOG_PERSONAL_NAME_H

/* The entity (Presidio's name) that a column of such a name holds, or NULL: customer_email, FirstName, contact.phone; not email_count. */
const char *personal_name_entity(const char *name);
/* The entities (entity.h) that bare digits in such a column may well be: phone numbers in "fax", addresses in "client_ip". */
unsigned personal_name_hints(const char *name);

#endif
