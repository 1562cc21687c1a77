// Run once, by the image, when the database is new: the user that Hybrid Live comes as, with no rights beyond its own
// database.
const password = require("fs").readFileSync("/run/secrets/mongodb_password", "utf8").trim();
db.getSiblingDB("hybrid_live").createUser({
    user: "hybrid_live",
    pwd: password,
    roles: [{ role: "readWrite", db: "hybrid_live" }, { role: "dbAdmin", db: "hybrid_live" }],
});
