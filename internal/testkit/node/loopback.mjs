// Preloaded into servers that cannot be told where to listen: they get a free
// port on loopback, whatever they ask for, and say on standard output which.
// They end when their standard input does, so that a crashed test takes them
// along.
import net from "node:net";

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const done = args.findLast((a) => typeof a === "function");
  this.once("listening", () => console.log(`loopback port ${this.address().port}`));
  return listen.call(this, { host: "127.0.0.1", port: 0 }, done);
};

process.stdin.on("end", () => process.exit(0)).resume();
