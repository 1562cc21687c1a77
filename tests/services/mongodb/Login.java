import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import io.netty.channel.Channel;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import javax.crypto.Mac;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Lets the users ada and bob in, both with one password, by SCRAM-SHA-256 (RFC 7677) and by nothing else. Ada may do
 * everything, bob nothing.
 */
final class Login {
    static final String MECHANISM = "SCRAM-SHA-256";
    private static final Set<String> USERS = Set.of("ada", "bob");
    private static final int ITERATIONS = 4096;
    private static final Document NOT_YOU = MongoServer.failure(18, "AuthenticationFailed", "Authentication failed.");

    private final byte[] salt = new byte[16];
    private final byte[] salted;
    /** How far each connection is. */
    private final Map<Channel, Conversation> conversations = new ConcurrentHashMap<>();

    /** Once it is in, what was said in the beginning does not matter any more. */
    private record Conversation(String user, String begin, boolean isIn) {}

    Login(String password) throws GeneralSecurityException {
        new SecureRandom().nextBytes(salt);
        PBEKeySpec spec = new PBEKeySpec(password.toCharArray(), salt, ITERATIONS, 256);
        salted = SecretKeyFactory.getInstance("PBKDF2WithHmacSHA256").generateSecret(spec).getEncoded();
    }

    /** The answer to what is part of logging in or needs it first; null for a command that may be done. */
    Document handle(Channel channel, String command, Document asked) {
        try {
            switch (command) {
                case "saslStart":
                    return start(channel, asked);
                case "saslContinue":
                    return proceed(channel, asked);
                default:
                    Conversation there = conversations.get(channel);
                    if (there == null || !there.isIn()) {
                        return MongoServer.failure(13, "Unauthorized", "command " + command + " requires authentication");
                    }
                    return there.user().equals("ada") ? null
                            : MongoServer.failure(13, "Unauthorized", "not authorized to execute command " + command);
            }
        } catch (GeneralSecurityException | IllegalArgumentException | ArrayIndexOutOfBoundsException malformed) {
            return NOT_YOU.cloneDeeply();
        }
    }

    private Document start(Channel channel, Document asked) {
        // n,,n=USER,r=NONCE
        String first = text(asked.get("payload")).substring("n,,".length());
        String user = first.split(",")[0].substring("n=".length());
        if (!MECHANISM.equals(asked.get("mechanism")) || !USERS.contains(user)) {
            return NOT_YOU.cloneDeeply();
        }
        byte[] random = new byte[18];
        new SecureRandom().nextBytes(random);
        String answer = first.split(",")[1] + base64(random) + ",s=" + base64(salt) + ",i=" + ITERATIONS;
        if (conversations.put(channel, new Conversation(user, first + "," + answer, false)) == null) {
            channel.closeFuture().addListener(closed -> conversations.remove(channel));
        }
        return said(answer, false);
    }

    private Document proceed(Channel channel, Document asked) throws GeneralSecurityException {
        // c=biws,r=NONCE,p=PROOF
        String last = text(asked.get("payload"));
        Conversation there = conversations.get(channel);
        if (there == null || there.isIn()) {
            return NOT_YOU.cloneDeeply();
        }
        int proof = last.indexOf(",p=");
        String all = there.begin() + "," + last.substring(0, proof);
        byte[] clientKey = hmac(salted, "Client Key");
        byte[] signature = hmac(MessageDigest.getInstance("SHA-256").digest(clientKey), all);
        for (int index = 0; index < signature.length; index++) {
            signature[index] ^= clientKey[index];
        }
        String nonce = there.begin().split(",")[2];
        boolean proven = MessageDigest.isEqual(signature, Base64.getDecoder().decode(last.substring(proof + ",p=".length())));
        if (!proven || !last.split(",")[1].equals(nonce)) {
            return NOT_YOU.cloneDeeply();
        }
        conversations.put(channel, new Conversation(there.user(), "", true));
        return said("v=" + base64(hmac(hmac(salted, "Server Key"), all)), true);
    }

    private static String text(Object payload) {
        return new String(((BinData) payload).getData(), StandardCharsets.UTF_8);
    }

    private static Document said(String payload, boolean done) {
        return new Document("ok", 1.0).append("conversationId", 1).append("done", done)
                .append("payload", new BinData(payload.getBytes(StandardCharsets.UTF_8)));
    }

    private static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
