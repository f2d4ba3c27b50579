/* SPDX-License-Identifier: Apache-2.0 */
/* Waking the broker when the guard says something.
 *
 * Mosquitto has no way to let a plugin's socket take part in its event loop; it sleeps up to 100
 * ms. A signal ends that sleep: the socket is asked to send one when there is something to read,
 * the handler does nothing but leave a mark, and the broker's next TICK reads. A signal that comes
 * just before the sleep begins is missed; then it takes the 100 ms.
 */
#ifndef KEYFOB_WAKE_H
#define KEYFOB_WAKE_H

#include <stdbool.h>

/* Installs the handlers. False where the signal is taken: then there is the 100 ms. */
bool wake_install(void);

/* Takes them back: nothing of this library may be called after it was unloaded. */
void wake_remove(void);

/* From now on this socket wakes the calling thread. */
void wake_watch(int fd);

/* Leaves the mark, as the signal does. */
void wake_mark(void);

/* Was there a mark? It is gone now. */
bool wake_take(void);

#endif
