// The page: puts its parts together and starts them.

import { ContentsView } from "./contents.js";
import { DownloadsView } from "./downloads.js";
import { GuestView } from "./guest.js";
import { HistoryView } from "./history.js";
import { LimitsView } from "./limits.js";
import { NodeView } from "./node.js";
import { showNotices } from "./notices.js";
import { PeersView } from "./peers.js";
import { ShareView } from "./share.js";
import { Store } from "./store.js";
import { Sync } from "./sync.js";
import { startViews } from "./views.js";

const store = new Store();
const sync = new Sync(store);
showNotices(store);
new ContentsView(store);
new DownloadsView(store);
new PeersView(store);
new HistoryView(store);
new LimitsView(store);
new NodeView(store);
new GuestView(store);
new ShareView(() => sync.hurry());
startViews();
sync.start();
